"""What a scan is simulated of: objects, ways of the beam, detectors with their faults."""
