"""TA-Lib without its Python package: the same functions, without pandas."""

from __future__ import annotations

import json
import subprocess
import sys

# Calls of every kind: one and several outputs, several inputs, NaN at the start, and functions with a state.
CALLS = """
import numpy as np
random = np.random.default_rng(1)
close = 100 + random.normal(0, 1, 3000).cumsum()
high, low, volume = close + random.random(3000), close - random.random(3000), 1000 * random.random(3000)
late = np.concatenate((np.full(7, np.nan), close))
def calls(library):
    return [
        library.RSI(close, 14), library.RSI(late, 14), *library.MACD(close, 12, 26, 9),
        library.ATR(high, low, close, 14), *library.BBANDS(close, 20, 2.5, 2.5),
        *library.SUPERTREND(high, low, close, 10, 3.0),
        library.SAREXT(high, low, 0.0, 0.0, 0.02, 0.02, 0.2, 0.02, 0.02, 0.2), library.KAMA(close, 10),
        library.MFI(high, low, close, volume, 14), library.CDLDOJI(close, high, low, close),
    ]
"""
COMPILED = "from ktrdr.core.indicators.compiled_talib import functions\nfound = calls(functions)\n"
PACKAGE = "import talib\nexpected = calls(talib)\n"
COMPARED = "assert len(found) == len(expected) and all(map(lambda a, b: a.tobytes() == b.tobytes(), found, expected))\n"


def run(code):
    done = subprocess.run([sys.executable, "-c", CALLS + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_compiled_functions_give_what_the_package_gives_in_either_order():
    run(COMPILED + PACKAGE + COMPARED)
    run(PACKAGE + COMPILED + COMPARED)


def test_the_compiled_functions_need_neither_pandas_nor_polars():
    code = "import json, sys; print(json.dumps([m for m in ('talib', 'pandas', 'polars') if m in sys.modules]))"
    assert json.loads(run(COMPILED + code)) == []


def test_settings_of_a_program_that_uses_talib_are_kept():
    code = "import talib; talib.set_unstable_period('RSI', 5)\n" + COMPILED
    code += "assert talib.get_unstable_period('RSI') == functions._ta_get_unstable_period('RSI') == 5\n"
    code += "functions._ta_set_unstable_period('EMA', 3); assert talib.get_unstable_period('EMA') == 3"
    run(code)


def test_the_package_wraps_the_functions_for_series_when_it_is_imported_later():
    code = COMPILED + "import pandas as pd, talib, talib.abstract, talib.stream\n"
    code += "series = talib.RSI(pd.Series(close), 14); assert isinstance(series, pd.Series)\n"
    code += "assert series.to_numpy().tobytes() == found[0].tobytes() == talib.abstract.RSI(close, 14).tobytes()\n"
    code += "assert talib.stream.RSI(close, 14).value == found[0][-1]"
    run(code)


def test_frames_work_in_all_of_the_package_if_pandas_was_imported_first():
    code = "import pandas as pd\n" + COMPILED + "import talib.abstract, talib.stream\n"
    code += "frame = pd.DataFrame({'close': close}); assert isinstance(talib.abstract.RSI(frame), pd.Series)\n"
    code += "assert talib.stream.RSI(frame['close'], 14).value == found[0][-1]"
    run(code)


def test_pandas_is_hidden_from_the_loading_thread_alone_and_only_while_it_loads():
    code = """
import sys, threading
from ktrdr.core.indicators import compiled_talib
found = []
def look():
    import pandas
    found.append(pandas.Series)
with compiled_talib._first_finder(compiled_talib._WithoutPackage()):
    try:
        import pandas
    except ModuleNotFoundError as error:
        found.append(error.name)
    other = threading.Thread(target=look)
    other.start()
    other.join()
import pandas
assert found == ["pandas", pandas.Series], found
assert not any(isinstance(finder, compiled_talib._WithoutPackage) for finder in sys.meta_path)
"""
    run(code)


def test_frames_work_in_all_of_the_package_if_pandas_is_imported_later():
    code = (
        COMPILED
        + """
import pandas as pd, talib.abstract, talib.stream
frame = pd.DataFrame({"open": close, "high": high, "low": low, "close": close, "volume": volume})
assert talib.abstract.RSI(frame["close"]).tobytes() == found[0].tobytes()
for rsi in (talib.abstract.RSI(frame), talib.abstract.Function("rsi")(frame)):
    assert isinstance(rsi, pd.Series) and rsi.to_numpy().tobytes() == found[0].tobytes()
assert isinstance(talib.abstract.MACD(frame), pd.DataFrame)
assert talib.stream.RSI(frame["close"], 14).value == found[0][-1]
try:
    talib.stream.RSI(close.tolist(), 14)
except TypeError:
    pass
else:
    raise AssertionError("a list is no series")
"""
    )
    run(code)


# Another thread imports the package at the worst moments: before and after the code of the compiled module runs.
RACE = """
import pandas, threading
from importlib.machinery import ExtensionFileLoader
original, threads, results, errors = ExtensionFileLoader.exec_module, [], [], []
def user():
    try:
        import talib
        results.append(talib.RSI(close, 14))
    except BaseException as error:
        errors.append(repr(error))
def in_another_thread():
    threads.append(threading.Thread(target=user))
    threads[-1].start()
    threads[-1].join(0.3)
def exec_module(loader, module):
    first = module.__name__ == "talib._ta_lib" and not threads
    if first:
        in_another_thread()
    original(loader, module)
    if first:
        in_another_thread()
ExtensionFileLoader.exec_module = exec_module
"""
AGREED = """
for thread in threads:
    thread.join()
assert not errors, errors
assert len(results) == 2 and all(result.tobytes() == found[0].tobytes() for result in results)
"""


def test_another_thread_may_import_the_package_meanwhile():
    run(RACE + COMPILED + AGREED)


def test_an_import_of_the_package_meanwhile_is_waited_for():
    code = """
import threading
threads, results, errors = [], [], []
def user():
    try:
        import talib
        results.append(talib.RSI(close, 14))
    except BaseException as error:
        errors.append(repr(error))
start = threading.Barrier(3)
def first():
    start.wait()
    user()
threads = [threading.Thread(target=first) for _ in range(2)]
for thread in threads:
    thread.start()
start.wait()
"""
    run(code + COMPILED + AGREED)


def test_the_package_is_imported_while_its_functions_are_in_use():
    code = (
        COMPILED
        + """
stream = functions.RSI_Stream(close, 14)
import talib
talib._ta_initialize()
assert stream.value == talib.RSI(close, 14)[-1]
del stream
talib._ta_shutdown()
try:
    talib.RSI(close, 14)
except RuntimeError:
    talib._ta_initialize()
assert talib.RSI(close, 14).tobytes() == found[0].tobytes()
"""
    )
    run(code)


def test_looking_at_the_module_loads_nothing():
    code = "import inspect, sys\nfrom ktrdr.core.indicators import ta\n"
    code += "assert inspect.unwrap(ta) is ta\nassert getattr(ta, '__module__', None) is None\n"
    run(code + "assert not [name for name in sys.modules if 'talib' in name], sys.modules")
