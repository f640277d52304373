import pickle

import pytest

from reelworks.errors import StorageError, StorageErrorKind, UserError, VideoError, VideoErrorKind


@pytest.mark.parametrize(
    "error",
    [
        UserError("No bucket", "Create it"),
        StorageError(StorageErrorKind.changed, "s3://a/b", "412"),
        VideoError(VideoErrorKind.truncated, "ends in a frame", good_frames=7),
    ],
)
def test_errors_cross_processes_whole(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_a_user_error_says_what_is_wrong_and_then_what_to_do() -> None:
    assert str(UserError("No bucket.", "Create it")) == "No bucket. Create it"
    assert str(UserError("No bucket")) == "No bucket"
