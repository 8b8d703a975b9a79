"""What importing the settings library costs, and that what it is imported without is there for whoever uses it."""

import subprocess
import sys


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_reading_the_settings_does_not_import_asyncio() -> None:
    run("import sys, dupwatchd.settings as s; s.load({'state': '/x'}); assert 'asyncio' not in sys.modules")


def test_asyncio_works_afterwards_for_us_and_for_the_library() -> None:
    run(
        "import dupwatchd.settings, pydantic_settings.main, asyncio\n"
        "async def one(): return 1\n"
        "assert asyncio.run(one()) == 1\n"
        "assert pydantic_settings.main.asyncio.run(one()) == 1\n"
        "assert pydantic_settings.main.asyncio.sleep is asyncio.sleep\n"
    )


def test_the_client_imports_nothing_of_it() -> None:
    run("import sys, dupwatch.cli, dupwatch.client; assert not {'pydantic', 'pydantic_settings'} & set(sys.modules)")
