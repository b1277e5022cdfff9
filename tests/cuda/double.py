"""CuPy as it is, on a double of the CUDA runtime and driver: what it asks of a GPU is noted and done in main memory.

`install()` comes before the first `import cupy`, in a process of its own. CuPy's modules call the runtime and the
driver through tables of C functions (Cython's `__pyx_capi__`), whose entries are replaced here. Then memory, copies,
streams, events and graphs work: memory is main memory, and everything is over as soon as it was asked for, but copies
from pinned memory: they happen when somebody waits for them, as late as on a busy GPU. A launch computes nothing. It is
checked instead: its parameters against those that the machine code declares, and what CUDA
would refuse, such as memory freed twice, copies past the end of an array, or waiting for a stream that is being
captured. A check that fails ends the process.
"""

import ctypes
import os
import re
import struct
import traceback
from collections import Counter, defaultdict

import numpy as np

TYPES = {
    "int": ctypes.c_int, "unsigned int": ctypes.c_uint, "intptr_t": ctypes.c_ssize_t, "size_t": ctypes.c_size_t,
    "PyObject *": ctypes.py_object, "float": ctypes.c_float, "CUdevice": ctypes.c_int, "uintmax_t": ctypes.c_uint64,
}  # fmt: skip
DONE = ()  # what a function without a result returns
MEMORY = 512  # alignment of CUDA's memory
CAPTURES = 1  # cudaStreamCaptureStatusActive
CAPABILITY = {75: 9, 76: 0}  # cudaDevAttrComputeCapabilityMajor, …Minor: Hopper


class Double:
    """The state of the GPU that is not there, and what was asked of it."""

    def __init__(self):
        self.calls = Counter()
        self.memory = {}  # address -> (array that holds it, bytes)
        self.pinned = {}
        self.streams, self.events = {0, 1, 2}, {}
        self.modules, self.functions = {}, {}  # handle -> code; handle -> (name, sizes of its parameters)
        self.launches = []  # (kernel, grid, block, bytes of each parameter, stream)
        self.copies = []  # (kind, bytes, stream or None)
        self.pending = defaultdict(list)  # stream -> copies from pinned memory that have not happened yet
        self.behind = defaultdict(set)  # stream -> streams whose events it waits for
        self.capturing = {}  # stream -> launches
        self.graphs = {}
        self._next = 1000

    def handle(self):
        self._next += 1
        return self._next

    # ---- memory

    def malloc(self, size):
        assert not self.capturing, "cudaMalloc while a stream is captured"
        return self._new(self.memory, size)

    def hostAlloc(self, size, flags):
        return self._new(self.pinned, size)

    def _new(self, where, size):
        block = np.zeros(size + MEMORY, np.uint8)
        address = -(-block.ctypes.data // MEMORY) * MEMORY
        where[address] = block, size
        return address

    def free(self, address):
        if address:
            del self.memory[address]
        return DONE

    def freeHost(self, address):
        if address:
            del self.pinned[address]
        return DONE

    def memGetInfo(self):
        return 1 << 34, 1 << 34

    def inside(self, address, size):
        return _holds(self.memory, address, size)

    def pointerGetMemoryType(self, address):
        """cudaMemoryTypeHost, …Device, …Unregistered"""
        return 1 if _holds(self.pinned, address, 0) else 2 if self.inside(address, 0) else 0

    def memcpy(self, to, source, size, kind):
        assert not self.capturing, "cudaMemcpy while a stream is captured"
        return self._copy(to, source, size, kind, None)

    def memcpyAsync(self, to, source, size, kind, stream):
        if self.capturing:
            host = source if kind == 1 else to if kind == 2 else None
            assert host is None, "a copy from or to main memory while a stream is captured"
        if kind == 1 and _holds(self.pinned, source, size):
            assert self.inside(to, size)
            self.pending[stream].append((to, source, size))
            self.copies.append((kind, size, stream))
            return DONE
        if kind == 2:
            self._wait_for(stream)
        return self._copy(to, source, size, kind, stream)

    def _wait_for(self, stream):
        """What the stream holds, and what it waits for itself, is over."""
        for other in {stream, *self.behind.pop(stream, ())}:
            for to, source, size in self.pending.pop(other, ()):
                assert _holds(self.pinned, source, size) and self.inside(to, size), "memory freed under a copy"
                ctypes.memmove(to, source, size)

    def _copy(self, to, source, size, kind, stream):
        assert kind in (1, 2, 3, 4), f"kind {kind} of a copy"
        assert kind not in (1, 3) or self.inside(to, size), "a copy to what is no memory of the GPU"
        assert kind not in (2, 3) or self.inside(source, size), "a copy from what is no memory of the GPU"
        ctypes.memmove(to, source, size)
        self.copies.append((kind, size, stream))
        return DONE

    def memset(self, to, value, size):
        return self.memsetAsync(to, value, size, None)

    def memsetAsync(self, to, value, size, stream):
        assert self.inside(to, size)
        ctypes.memset(to, value, size)
        return DONE

    # ---- device

    def getDevice(self):
        return 0

    def getDeviceCount(self):
        return 1

    def setDevice(self, device):
        return DONE

    def deviceGetAttribute(self, attribute, device):
        return CAPABILITY.get(attribute, 132)

    def getDeviceProperties(self, device):
        return {"name": b"double", "major": 9, "minor": 0, "multiProcessorCount": 132, "maxThreadsPerBlock": 1024}

    def driverGetVersion(self):
        return 13000

    def runtimeGetVersion(self):
        return 13000

    def deviceSynchronize(self):
        assert not self.capturing, "cudaDeviceSynchronize while a stream is captured"
        for stream in list(self.pending):
            self._wait_for(stream)
        return DONE

    def ctxGetCurrent(self):
        return 1

    def _ensure_context(self):
        return DONE

    # ---- streams and events

    def streamCreate(self):
        return self.streamCreateWithFlags(0)

    def streamCreateWithFlags(self, flags):
        stream = self.handle()
        self.streams.add(stream)
        return stream

    def streamCreateWithPriority(self, flags, priority):
        return self.streamCreateWithFlags(flags)

    def streamDestroy(self, stream):
        self.streams.remove(stream)
        return DONE

    def streamGetFlags(self, stream):
        return 1

    def streamSynchronize(self, stream):
        assert stream not in self.capturing, "cudaStreamSynchronize of a stream that is captured"
        assert stream in self.streams
        self._wait_for(stream)
        return DONE

    def streamWaitEvent(self, stream, event, *flags):
        assert stream in self.streams and event in self.events
        if self.events[event] is not None:
            self.behind[stream].add(self.events[event])
        return DONE

    def streamIsCapturing(self, stream):
        return CAPTURES if stream in self.capturing else 0

    def eventCreate(self):
        return self.eventCreateWithFlags(0)

    def eventCreateWithFlags(self, flags):
        event = self.handle()
        self.events[event] = None  # the stream that it was recorded on
        return event

    def eventDestroy(self, event):
        del self.events[event]
        return DONE

    def eventRecord(self, event, stream):
        assert stream in self.streams
        self.events[event] = stream
        return DONE

    def eventSynchronize(self, event):
        assert self.events[event] is not None, "waits for an event that was not recorded"
        self._wait_for(self.events[event])
        return DONE

    def eventQuery(self, event):
        """cudaSuccess or cudaErrorNotReady"""
        return 600 if self.pending.get(self.events[event]) else 0

    def eventElapsedTime(self, began, ended):
        assert None not in (self.events[began], self.events[ended])
        return 1.0

    # ---- graphs

    def streamBeginCapture(self, stream, *mode):
        assert stream not in (0, 1), "the legacy stream cannot be captured"
        self.capturing[stream] = []
        return DONE

    def streamEndCapture(self, stream):
        graph = self.handle()
        self.graphs[graph] = self.capturing.pop(stream)
        return graph

    def graphInstantiate(self, graph):
        executable = self.handle()
        self.graphs[executable] = list(self.graphs[graph])
        return executable

    def graphLaunch(self, executable, stream):
        assert stream not in self.capturing
        self.launches += [(*launch[:-1], stream) for launch in self.graphs[executable]]
        return DONE

    def graphUpload(self, executable, stream):
        return DONE

    def graphDestroy(self, graph):
        del self.graphs[graph]
        return DONE

    graphExecDestroy = graphDestroy

    # ---- kernels

    def moduleLoad(self, path):
        with open(path, "rb") as file:
            return self._loaded(file.read())

    def moduleLoadData(self, image):
        return self._loaded(image)

    def _loaded(self, code):
        module = self.handle()
        self.modules[module] = bytes(code)
        return module

    def moduleUnload(self, module):
        del self.modules[module]
        return DONE

    def moduleGetFunction(self, module, name):
        function = self.handle()
        self.functions[function] = name, parameter_sizes(self.modules[module], name)
        return function

    def funcGetAttribute(self, attribute, function):
        return 1024

    def funcSetAttribute(self, function, attribute, value):
        return DONE

    def launchKernel(self, function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra):
        name, sizes = self.functions[function]
        assert 0 < gx < 1 << 31 and 0 < gy < 1 << 16 and 0 < gz < 1 << 16, f"{name}: grid {gx, gy, gz}"
        assert 0 < bx * by * bz <= 1024, f"{name}: block {bx, by, bz}"
        assert stream in self.streams
        addresses = (ctypes.c_void_p * len(sizes)).from_address(parameters) if sizes else ()
        given = tuple(ctypes.string_at(address, size) for address, size in zip(addresses, sizes))
        launch = name, (gx, gy, gz), (bx, by, bz), given, stream
        self.capturing.get(stream, self.launches).append(launch)
        return DONE


def _holds(memory, address, size):
    return any(begin <= address and address + size <= begin + held for begin, (_, held) in memory.items())


def parameter_sizes(cubin, name):
    """The bytes of each parameter of a kernel, from section .nv.info.NAME of its machine code (EIATTR_KPARAM_INFO)."""
    (offset,) = struct.unpack_from("<Q", cubin, 40)
    size, count, names = struct.unpack_from("<HHH", cubin, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", cubin, offset + i * size) for i in range(count)]
    strings = sections[names][4]
    for section in sections:
        title = cubin[strings + section[0] : cubin.index(b"\0", strings + section[0])]
        if title.decode() == f".nv.info.{name}":
            return _parameters(cubin[section[4] : section[4] + section[5]])
    raise AssertionError(f"no kernel {name}")


def _parameters(info):
    sizes, at = {}, 0
    while at < len(info):
        form, attribute, value = struct.unpack_from("<BBH", info, at)
        at += 4
        if form == 4:  # `value` bytes follow
            if attribute == 0x17 or attribute == 0x45:
                _, ordinal, _, packed = struct.unpack_from("<IHHI", info, at)
                sizes[ordinal] = packed >> 18
            at += value
    return [sizes[i] for i in sorted(sizes)]


def install():
    """A `Double` that CuPy will use; nothing of CuPy may have been imported."""
    from cupy_backends.cuda.api import driver, runtime

    double = Double()
    for module in (runtime, driver):
        for name, capsule in module.__pyx_capi__.items():
            if hasattr(double, name):
                function = _counted(double, name)
                _replace(capsule, function)
                setattr(module, name, function)
    return double


def _counted(double, name):
    method = getattr(double, name)

    def call(*args):
        double.calls[name] += 1
        try:
            return method(*args)
        except BaseException:
            traceback.print_stack()
            traceback.print_exc()
            os._exit(1)

    return call


_alive = []  # C calls these


def _replace(capsule, function):
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_SetPointer.argtypes = [ctypes.py_object, ctypes.c_void_p]
    result, arguments = re.match(r"(.+?) ?\((.*)\)$", api.PyCapsule_GetName(capsule).decode()).groups()
    kinds = [] if arguments == "void" else [argument.strip() for argument in arguments.split(",")]
    skip = [i for i, kind in enumerate(kinds) if "__pyx" in kind]
    given = [ctypes.c_int if "skip_dispatch" in kind else TYPES.get(kind, ctypes.c_void_p) for kind in kinds]
    result = TYPES[result.replace("PyObject*", "PyObject *")]
    prototype = ctypes.PYFUNCTYPE(result, *given)
    pointer = prototype(lambda *args: function(*(a for i, a in enumerate(args) if i not in skip)))
    _alive.append(pointer)
    api.PyCapsule_SetPointer(capsule, ctypes.cast(pointer, ctypes.c_void_p))
