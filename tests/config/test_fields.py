"""What is raised when something cannot be."""

import pickle

import pytest
from torch._utils import ExceptionWrapper

from ptycho.config.config import UserError
from ptycho.data.scan import DataError


def test_what_a_worker_raised_is_told_as_if_it_had_not():
    try:
        raise DataError("scan.npz: Error: it ends\ntoo early.")
    except DataError:
        wrapped = ExceptionWrapper(where="in DataLoader worker process 3")
    with pytest.raises(DataError) as told:
        pickle.loads(pickle.dumps(wrapped)).reraise()
    assert told.value.faults == ("scan.npz: Error: it ends\ntoo early.",)
    assert str(told.value) == "scan.npz: Error: it ends\ntoo early."


def test_sentences_stay_as_they_are():
    faults = ("Caught a cold in winter.", "one\ntwo: three")
    assert UserError(*faults).faults == faults
