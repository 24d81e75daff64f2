"""What went wrong is told in one line, however long Spark's account of it is."""

from __future__ import annotations

import pytest

from loaders.causes import BatchError, brief_errors, root_cause


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("[STREAM_FAILED] Query [id = 1] terminated", "[STREAM_FAILED] Query [id = 1] terminated"),
        (
            (
                "x\nTraceback:\n  File\npyspark.errors.PythonException: thrown from the worker:\n"
                "loaders.sources.object_state.StateLost: /s knows 1 of 2\n SQLSTATE: 3\n"
                "=== Streaming Query ===\nIdentifier: [id = 1]"
            ),
            "/s knows 1 of 2",
        ),
        ("x\nbotocore.exceptions.NoCredentialsError: none found", "NoCredentialsError: none found"),
    ],
)
def test_the_cause_of_a_failed_query_is_its_innermost_error(message: str, cause: str) -> None:
    assert root_cause(message) == cause


class JavaError(Exception):
    """As py4j raises it: with the exception, and a trace of a thousand lines in its text."""

    def __init__(self, text: str) -> None:
        frames = "\n".join(
            f"\tat org.apache.spark.Stage{n}.run(Stage.scala:{n})" for n in range(999)
        )
        super().__init__(f"An error occurred while calling o1.save.\n: {text}\n{frames}")
        self.java_exception = self
        self.to_string = text

    def toString(self) -> str:
        return self.to_string


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (JavaError("java.io.IOException: No space left on device"), "IOException: No space left"),
        (
            JavaError(
                "org.apache.spark.SparkException: Job aborted: Task 0 failed:\n"
                "org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n"
                '  File "objects.py", line 1\n'
                "botocore.exceptions.ClientError: An error occurred (SlowDown)\n\nDriver stack:"
            ),
            "ClientError: An error occurred (SlowDown)",
        ),
        (ValueError("a line\nand more"), "a line"),
        (KeyError("name"), "KeyError: 'name'"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_a_batch_fails_with_one_line(error: Exception, line: str) -> None:
    with pytest.raises(BatchError) as failed, brief_errors():
        raise error
    assert str(failed.value).startswith(line)
    assert len(str(failed.value).splitlines()) == 1
    assert failed.value.__cause__ is None


def test_a_batch_that_was_cut_short_says_so_in_the_words_that_spark_knows() -> None:
    with pytest.raises(BatchError, match=r"java\.lang\.InterruptedException"), brief_errors():
        raise JavaError("java.lang.InterruptedException: sleep interrupted")
