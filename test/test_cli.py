"""The command line: every command explains itself, and expected errors are one line."""

import importlib.util
import subprocess
import sys

import pytest

from lifting_ros.cli import COMMANDS, main

WORDS = sorted(COMMANDS)


@pytest.mark.parametrize('words', WORDS, ids=' '.join)
def test_every_command_is_there_and_explains_itself(words, capsys):
    module, text = COMMANDS[words]
    assert importlib.util.find_spec(module) is not None, f'{module} is missing'
    with pytest.raises(SystemExit) as end:
        main([*words, '--help'])
    assert end.value.code == 0
    assert text[:20] in capsys.readouterr().out


def test_without_a_command_it_says_what_there_is(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert 'usage' in capsys.readouterr().err


def test_a_file_that_is_not_there_is_one_line_on_stderr(tmp_path, capsys):
    assert main(['run', str(tmp_path / 'none.jpg')]) == 1
    err = capsys.readouterr().err
    assert err.startswith('lifting-ros: ') and 'none.jpg' in err and 'Traceback' not in err


def test_help_needs_neither_torch_nor_ros():
    code = ('import sys\n'
            'sys.modules["torch"] = sys.modules["rclpy"] = None\n'
            'from lifting_ros.cli import main\n'
            'main(["--help"])\n')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0 and 'eval' in done.stdout
