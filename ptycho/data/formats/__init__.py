"""File formats of scans, one module each; :mod:`ptycho.data.formats.registry` knows them all."""
