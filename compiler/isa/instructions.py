"""THE instruction table: opcode, unit, operands, reads, writes, synopsis.

Every other view (binary words, assembly text, the manual, the emulator's
dispatch, dependence analysis) derives from this table; nothing else knows an
encoding. What a row is made of is in `isa.spec`.

HyperAccel has not published an encoding: this one is our own and runs on the
emulator of this package only. The four classes and the units are those of
the LPU paper (IEEE Micro 2024, arXiv 2408.07326, table of instructions).
"""

from __future__ import annotations

from compiler.isa.spec import Effect, Kind, Operand, Spec, Unit

_R, _W = Effect.READ, Effect.WRITE


def _lmu(
    name: str, word: int, effect: Effect, *extent: str, register: str = "", optional: bool = False, synopsis: str = ""
) -> Operand:
    return Operand(name, Kind.LMU, word, 0, 32, effect, extent, register, optional, synopsis)


def _hbm(word: int, effect: Effect, synopsis: str = "region base") -> Operand:
    return Operand("hbm", Kind.HBM, word, 0, 32, effect, synopsis=synopsis)


def _stream(name: str, low: int, effect: Effect, optional: bool = False, synopsis: str = "") -> Operand:
    return Operand(name, Kind.STREAM, 0, low, 6, effect, optional=optional, synopsis=synopsis)


def _register(name: str, word: int, low: int, effect: Effect, optional: bool = False, synopsis: str = "") -> Operand:
    return Operand(name, Kind.REGISTER, word, low, 5, effect, optional=optional, synopsis=synopsis)


def _count(name: str, word: int, low: int = 0, bits: int = 32, optional: bool = False, synopsis: str = "") -> Operand:
    return Operand(name, Kind.COUNT, word, low, bits, optional=optional, synopsis=synopsis)


_ROPE_STYLE = _count("style", 0, 26, 2, True, "rotation pairs: 0 half-split, 1 interleaved")
_TABLE = Operand("act", Kind.TABLE, 7, 0, 8, optional=True, synopsis="activation table applied to the result")
_LENGTH_REGISTER = _register("length_reg", 7, 8, _R, True, "register that replaces length")


def _last(name: str) -> Operand:
    return _count("last", 7, 23, 1, True, f"1: of the tokens in the register only the last, no more than {name}")


def _norm_operands(bias: bool, residual: bool) -> tuple[Operand, ...]:
    operands = [_lmu("dst", 1, _W, "length", synopsis="normalised vector")]
    if residual:
        operands.append(_lmu("sum", 5, _W, "length", synopsis="a + b, kept for the next residual"))
    operands.append(_lmu("a", 2, _R, "length"))
    if residual:
        operands.append(_lmu("b", 6, _R, "length"))
    operands.append(_count("length", 3))
    operands.append(Operand("eps", Kind.FLOAT, 4))
    operands.append(_stream("weight", 8, _R, optional=True, synopsis="scale stream"))
    if bias:
        operands.append(_stream("bias", 14, _R, optional=True, synopsis="shift stream"))
    operands.append(Operand("offset", Kind.FLOAT, 7, optional=True, synopsis="added to every weight"))
    if not residual:
        operands.append(_count("heads", 0, 20, 12, True, "parts of a that are each normalised by themselves; 0: one"))
        operands.append(_lmu("of", 5, _R, "of_length", optional=True, synopsis="vector whose mean and variance count"))
        operands.append(_count("of_length", 6, optional=True, synopsis="its elements; 0: those of a count"))
    return tuple(operands)


def _branch(mnemonic: str, opcode: int, relation: str) -> Spec:
    operands = (
        _register("a", 0, 8, _R),
        _register("b", 0, 13, _R),
        Operand("target", Kind.TARGET, 1),
    )
    return Spec(mnemonic, opcode, "CTRL", Unit.ICP, operands, f"Continue at target if a {relation} b (signed).")


def _kv_write(mnemonic: str, opcode: int, synopsis: str) -> Spec:
    operands = (
        _stream("stream", 8, _R, optional=True, synopsis="vector from the SXE; s0: take it from the LMU"),
        _lmu("src", 2, _R, "heads", "head_dim", optional=True, synopsis="vector in the LMU when stream is s0"),
        _hbm(1, _W, "cache of the first head"),
        _register("at", 0, 14, _R, synopsis="token position"),
        _count("heads", 6, 0, 16),
        _count("head_dim", 6, 16, 16),
        _count("stride", 4, synopsis="elements between two rows of one channel"),
        Operand("head_stride", Kind.HBM, 3, synopsis="bytes between two heads in each channel"),
    )
    return Spec(mnemonic, opcode, "MEM", Unit.SMA, operands, synopsis)


SPECS: tuple[Spec, ...] = (
    # MEM
    Spec(
        "rd.embed",
        0x01,
        "MEM",
        Unit.SMA,
        (
            _lmu("dst", 2, _W, "length"),
            _hbm(1, _R, "table base"),
            _register("index", 0, 14, _R, synopsis="row of the table"),
            _count("length", 3, synopsis="elements of a row held by this device"),
            _count("rows", 4, synopsis="rows of the table"),
        ),
        "Read one row of an embedding or rotary table into the LMU. Element e of row i lies in channel e mod 32, "
        "at element i * ceil(length/32) + e div 32 from the base.",
    ),
    Spec(
        "rd.param",
        0x02,
        "MEM",
        Unit.SMA,
        (
            _stream("stream", 8, _W),
            _hbm(1, _R),
            _count("rows", 2),
            _count("cols", 3),
            _count("stride", 4, synopsis="elements between two rows of one channel"),
            _register("index", 0, 14, _R, True, "how many steps behind the base: the chosen expert"),
            Operand("step", Kind.HBM, 5, optional=True, synopsis="bytes between two experts in each channel"),
        ),
        "Open a stream of parameters. Row r lies in channel r mod 32, at element (r div 32) * stride from the base.",
    ),
    Spec(
        "rd.kv",
        0x03,
        "MEM",
        Unit.SMA,
        (
            _stream("stream", 8, _W),
            _hbm(1, _R),
            _count("rows", 2),
            _count("cols", 3),
            _count("stride", 4),
            _register("rows_reg", 7, 13, _R, True, "register that replaces rows"),
            _register("cols_reg", 7, 18, _R, True, "register that replaces cols"),
            _last("rows or cols"),
        ),
        "Open a stream of cached keys (rows are tokens) or values (columns are tokens), laid out as for rd.param.",
    ),
    _kv_write("wr.key", 0x04, "Write one key per head: row `at` of each head's key cache."),
    _kv_write("wr.value", 0x05, "Write one value per head with byte strobes: column `at` of each head's value cache."),
    Spec(
        "rd.host",
        0x06,
        "MEM",
        Unit.SMA,
        (
            _register("dst", 0, 8, _W),
            Operand("io", Kind.IO, 1, effect=_R),
            _register("index", 0, 14, _R, True, "added to the offset as a count of 32-bit words"),
        ),
        "Read one 32-bit word of the host buffer into a register.",
    ),
    Spec(
        "wr.host",
        0x07,
        "MEM",
        Unit.SMA,
        (
            _register("src", 0, 8, _R),
            Operand("io", Kind.IO, 1, effect=_W),
            _register("index", 0, 14, _R, True, "added to the offset as a count of 32-bit words"),
        ),
        "Write a register to one 32-bit word of the host buffer.",
    ),
    # COMP on the SXE
    Spec(
        "mm",
        0x10,
        "COMP",
        Unit.SXE,
        (
            _lmu("dst", 1, _W, "rows", register="rows_reg", synopsis="result vector; unused when out is not s0"),
            _lmu("src", 2, _R, "cols", register="cols_reg"),
            _stream("stream", 8, _R, synopsis="matrix, opened by rd.param or rd.kv with the same rows and cols"),
            _count("rows", 3, synopsis="elements of the result"),
            _count("cols", 4, synopsis="elements of src, length of each dot product"),
            _stream("bias", 14, _R, True, "added to the accumulator"),
            _TABLE,
            _lmu("rope", 5, _R, "rotary_dim", optional=True, synopsis="cosines then sines; used when rotary_dim > 0"),
            _count("head_dim", 6, 0, 16, True, "elements per rotated head"),
            _count("rotary_dim", 6, 16, 16, True, "leading elements of each head that rotate; 0: no rotation"),
            _ROPE_STYLE,
            _stream("out", 20, _W, True, "stream to the SMA instead of dst"),
            _register("rows_reg", 7, 13, _R, True, "register that replaces rows"),
            _register("cols_reg", 7, 18, _R, True, "register that replaces cols"),
            _last("rows or cols"),
        ),
        "Matrix times vector: dst[r] = act(rope(sum over c of stream[r, c] * src[c] + bias[r])). Accumulates in "
        "float32 and rounds once.",
    ),
    # COMP on the VXE
    Spec(
        "vadd",
        0x20,
        "COMP",
        Unit.VXE,
        (_lmu("dst", 1, _W, "length"), _lmu("a", 2, _R, "length"), _lmu("b", 6, _R, "length"), _count("length", 3)),
        "dst = a + b.",
    ),
    Spec(
        "vmul",
        0x21,
        "COMP",
        Unit.VXE,
        (_lmu("dst", 1, _W, "length"), _lmu("a", 2, _R, "length"), _lmu("b", 6, _R, "length"), _count("length", 3)),
        "dst = a * b.",
    ),
    Spec(
        "vbias",
        0x22,
        "COMP",
        Unit.VXE,
        (
            _lmu("dst", 1, _W, "length"),
            _lmu("a", 2, _R, "length"),
            _stream("bias", 14, _R),
            _count("length", 3),
        ),
        "dst = a + stream.",
    ),
    Spec(
        "vscale",
        0x23,
        "COMP",
        Unit.VXE,
        (
            _lmu("dst", 1, _W, "length", register="length_reg"),
            _lmu("a", 2, _R, "length", register="length_reg"),
            _count("length", 3),
            Operand("scale", Kind.FLOAT, 4),
            _LENGTH_REGISTER,
            _lmu("by", 5, _R, "factors", optional=True, synopsis="one more factor"),
            _count("factors", 6, 0, 1, True, "1: there is one more factor"),
            _last("length"),
        ),
        "dst = a * scale [* by].",
    ),
    Spec(
        "vact",
        0x24,
        "COMP",
        Unit.VXE,
        (_lmu("dst", 1, _W, "length"), _lmu("a", 2, _R, "length"), _count("length", 3), _TABLE),
        "dst = act(a).",
    ),
    Spec(
        "vrope",
        0x25,
        "COMP",
        Unit.VXE,
        (
            _lmu("dst", 1, _W, "length"),
            _lmu("a", 2, _R, "length"),
            _lmu("rope", 5, _R, "rotary_dim", synopsis="cosines then sines of this position"),
            _count("length", 3),
            _count("head_dim", 6, 0, 16),
            _count("rotary_dim", 6, 16, 16),
            _ROPE_STYLE,
        ),
        "Rotate each head of a by the angles of this position.",
    ),
    Spec(
        "layernorm",
        0x26,
        "COMP",
        Unit.VXE,
        _norm_operands(bias=True, residual=False),
        "dst = (a - mean(a)) / sqrt(var(a) + eps) * weight + bias.",
    ),
    Spec(
        "rmsnorm",
        0x27,
        "COMP",
        Unit.VXE,
        _norm_operands(bias=False, residual=False),
        "dst = a / sqrt(mean(a*a) + eps) * weight.",
    ),
    Spec(
        "add.layernorm",
        0x28,
        "COMP",
        Unit.VXE,
        _norm_operands(bias=True, residual=True),
        "Fused residual: sum = a + b, rounded; dst = layernorm(sum).",
    ),
    Spec(
        "add.rmsnorm",
        0x29,
        "COMP",
        Unit.VXE,
        _norm_operands(bias=False, residual=True),
        "Fused residual: sum = a + b, rounded; dst = rmsnorm(sum).",
    ),
    Spec(
        "softmax",
        0x2A,
        "COMP",
        Unit.VXE,
        (
            _lmu("dst", 1, _W, "length", register="length_reg"),
            _lmu("a", 2, _R, "length", register="length_reg"),
            _count("length", 3),
            Operand("scale", Kind.FLOAT, 4),
            _LENGTH_REGISTER,
            _register("first_reg", 7, 13, _R, True, "register with the first token that counts; those before get 0"),
            _lmu("extra", 5, _R, "extras", optional=True, synopsis="slope of this head's linear bias, or its sink"),
            _count("extras", 6, 0, 1, True, "1: there is an extra"),
            _count("coarse", 6, 1, 1, True, "1: slope * t is rounded to bfloat16, then multiplied by scale"),
            _count("sink", 6, 2, 1, True, "1: extra is no slope but a score of no token, counted in max and sum"),
            _last("length"),
        ),
        "dst[i] = exp(s[i] - max(s)) / sum of exp(s - max(s)), with s[i] = scale * a[i] + slope * t, where t is the "
        "token of element i. Tokens beyond the length are masked.",
    ),
    Spec(
        "rank",
        0x2B,
        "COMP",
        Unit.VXE,
        (
            _register("index", 0, 8, _W),
            _lmu("dst", 1, _W, "count", synopsis="the element"),
            _lmu("src", 2, _R, "length"),
            _count("length", 3),
            _count("place", 4, synopsis="0: the largest"),
            _count("count", 5, 0, 1, synopsis="elements of dst: 1"),
            _lmu("of", 6, _R, "length", "taken", optional=True, synopsis="vector whose element dst takes instead"),
            _count("taken", 5, 1, 1, True, "1: dst takes an element of another vector"),
        ),
        "Find the element in this place of the descending order: index = where it lies in src. Of equal ones the first "
        "comes first.",
    ),
    Spec(
        "sample",
        0x2F,
        "COMP",
        Unit.VXE,
        (
            _register("token", 0, 8, _W),
            _register("stop", 0, 14, _W, synopsis="1 if the token is one of the stop tokens"),
            _lmu("src", 2, _R, "length", synopsis="logits"),
            _count("length", 3, synopsis="vocabulary size"),
        ),
        "Choose the next token by the sampling parameters of the host buffer and count it in the frequency table.",
    ),
    # NET
    Spec(
        "tx",
        0x30,
        "NET",
        Unit.ESL,
        (_lmu("src", 2, _R, "length"), _count("length", 3), _count("tag", 0, 8, 16, synopsis="pairs tx with rx")),
        "Transmit this device's slice to every other device along the ring.",
    ),
    Spec(
        "rx",
        0x31,
        "NET",
        Unit.ESL,
        (
            _lmu("dst", 1, _W, "length", "devices"),
            _count("length", 3, synopsis="elements of one slice"),
            _count("devices", 4, synopsis="slices received, this device's own included"),
            _count("tag", 0, 8, 16, synopsis="pairs rx with tx"),
        ),
        "Receive the slices of all devices, in device order, behind one another.",
    ),
    # CTRL
    Spec(
        "li",
        0x40,
        "CTRL",
        Unit.ICP,
        (_register("dst", 0, 8, _W), Operand("value", Kind.INT, 1)),
        "dst = value.",
    ),
    Spec(
        "addi",
        0x41,
        "CTRL",
        Unit.ICP,
        (_register("dst", 0, 8, _W), _register("a", 0, 13, _R), Operand("value", Kind.INT, 1)),
        "dst = a + value, modulo 2**32.",
    ),
    Spec(
        "add",
        0x42,
        "CTRL",
        Unit.ICP,
        (_register("dst", 0, 8, _W), _register("a", 0, 13, _R), _register("b", 0, 18, _R)),
        "dst = a + b, modulo 2**32.",
    ),
    _branch("beq", 0x48, "="),
    _branch("bne", 0x49, "!="),
    _branch("blt", 0x4A, "<"),
    _branch("bge", 0x4B, ">="),
    Spec("jmp", 0x4C, "CTRL", Unit.ICP, (Operand("target", Kind.TARGET, 1),), "Continue at target."),
    Spec("hlt", 0x4F, "CTRL", Unit.ICP, (), "Stop the machine."),
)

BY_MNEMONIC: dict[str, Spec] = {spec.mnemonic: spec for spec in SPECS}
BY_OPCODE: dict[int, Spec] = {spec.opcode: spec for spec in SPECS}
