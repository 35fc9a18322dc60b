"""The dot-product kernel as LLVM assembly: what `arithmetic.dot_rows` means, for any processor.

Vectors of LANES floats are spelled out and every product and sum is a
separate rounding, so LLVM has no freedom to change a bit: a processor with
narrower registers uses several of them. Stored 16-bit weights are widened in
registers, which is exact; they are read once, in the order they lie in.

A task is one matrix of rows that lie `row_bytes` apart, times several vectors:
`TASK_FIELDS` 64-bit numbers, see `kernel.Task`.
"""

from __future__ import annotations

from compiler.dtypes import BFLOAT16, FLOAT16, FLOAT32, DType
from compiler.emulator.arithmetic import LANES

TASK_FIELDS = (
    *("matrix", "row_bytes", "rows", "cols"),
    *("vectors", "vector_step", "result", "result_step", "next", "vector_count"),
)
_POINTERS = ("matrix", "vectors", "result")

TILE_ROWS = 4
TILE_VECTORS = 4
"""Rows times vectors computed together: 16 running sums and their operands fit the registers of AVX-512."""

PANEL_VECTORS = 16
"""Vectors that go through all rows of a task before the next ones do: they stay in the second-level cache."""

PREFETCH_ROWS = 2 * TILE_ROWS
"""A product with one vector waits for memory: ask for the rows after the next tile."""

_STORED = {FLOAT16: ("half", "f16"), BFLOAT16: ("i16", "i16"), FLOAT32: ("float", "f32")}
_WIDE = f"<{LANES} x float>"
_TILE_PARAMETERS = "ptr %w, i64 %row_bytes, i64 %cols, ptr %x, i64 %vector_step, ptr %out, i64 %result_step, i64 %next"


def function_name(dtype: DType) -> str:
    """Name of the exported function for matrices of `dtype`: void (ptr tasks, i64 count)."""
    return f"dot_{dtype}"


def module_text(native_half: bool) -> str:
    """The whole module.

    Args:
        native_half: whether the processor converts half to float; else it is done with integers.
    """
    kinds = "".join(
        f"declare <{LANES} x {kind}> @llvm.masked.load.v{LANES}{suffix}.p0(ptr, i32, <{LANES} x i1>, "
        f"<{LANES} x {kind}>)\n"
        for kind, suffix in _STORED.values()
    )
    parts = [kinds, "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)\n"]
    for dtype in _STORED:
        for rows in (1, TILE_ROWS):
            parts += [_Tile(dtype, rows, vectors, native_half).text() for vectors in (1, TILE_VECTORS)]
        parts.append(_driver(dtype))
    return "\n".join(parts)


class _Tile:
    """Function text: `rows` rows times `vectors` vectors."""

    def __init__(self, dtype: DType, rows: int, vectors: int, native_half: bool) -> None:
        self.dtype = dtype
        self.rows = range(rows)
        self.vectors = range(vectors)
        self.pairs = [(row, vector) for row in self.rows for vector in self.vectors]
        self.native_half = native_half
        self.name = f"tile_{dtype}_{rows}x{vectors}"
        kind, self.suffix = _STORED[dtype]
        self.stored = "i16" if dtype == FLOAT16 and not native_half else kind
        if self.stored == "i16":
            self.suffix = "i16"
        self.lines: list[str] = []

    def text(self) -> str:
        """Loop over whole groups of LANES columns, a masked rest, and the fold of the lanes."""
        self.lines = [f"define internal void @{self.name}({_TILE_PARAMETERS}) {{", "entry:"]
        add = self.lines.append
        add(f"  %whole = and i64 %cols, {-LANES}")
        add(f"  %rest = and i64 %cols, {LANES - 1}")
        for row in self.rows:
            add(f"  %wo{row} = mul i64 %row_bytes, {row}")
            add(f"  %w{row} = getelementptr i8, ptr %w, i64 %wo{row}")
        for vector in self.vectors:
            add(f"  %xo{vector} = mul i64 %vector_step, {vector}")
            add(f"  %x{vector} = getelementptr float, ptr %x, i64 %xo{vector}")
        add(f"  %ahead = mul i64 %row_bytes, {PREFETCH_ROWS}")
        add("  br label %head")
        add("head:")
        add("  %k = phi i64 [0, %entry], [%k2, %body]")
        for row, vector in self.pairs:
            add(f"  %a{row}_{vector} = phi {_WIDE} [zeroinitializer, %entry], [%bs{row}_{vector}, %body]")
        add("  %more = icmp slt i64 %k, %whole")
        add("  br i1 %more, label %body, label %end")
        add("body:")
        add(f"  %k2 = add i64 %k, {LANES}")
        self._accumulate("b", "%k", masked=False)
        add("  br label %head")
        add("end:")
        add("  %partial = icmp ne i64 %rest, 0")
        add("  br i1 %partial, label %tail, label %fold")
        add("tail:")
        add(f"  %count = insertelement <{LANES} x i64> zeroinitializer, i64 %rest, i32 0")
        add(
            f"  %counts = shufflevector <{LANES} x i64> %count, <{LANES} x i64> zeroinitializer, "
            f"<{LANES} x i32> zeroinitializer"
        )
        add(f"  %mask = icmp ult <{LANES} x i64> <{_list('i64', range(LANES))}>, %counts")
        self._accumulate("t", "%whole", masked=True)
        add("  br label %fold")
        add("fold:")
        for row, vector in self.pairs:
            pair = f"{row}_{vector}"
            add(f"  %f{pair} = phi {_WIDE} [%a{pair}, %end], [%ts{pair}, %tail]")
        for row, vector in self.pairs:
            self._fold(row, vector)
        add("  ret void")
        add("}\n")
        return "\n".join(self.lines)

    def _accumulate(self, prefix: str, column: str, masked: bool) -> None:
        """One group of columns: sums %{prefix}s = %a + weight * vector, each product rounded."""
        add = self.lines.append
        for vector in self.vectors:
            add(f"  %{prefix}xp{vector} = getelementptr float, ptr %x{vector}, i64 {column}")
            add(self._load(f"%{prefix}x{vector}", f"%{prefix}xp{vector}", "float", "f32", 4, masked))
        for row in self.rows:
            add(f"  %{prefix}wp{row} = getelementptr {self.stored}, ptr %w{row}, i64 {column}")
            raw = f"%{prefix}q{row}"
            add(self._load(raw, f"%{prefix}wp{row}", self.stored, self.suffix, self.dtype.itemsize, masked))
            weight = self._widen(raw)
            for vector in self.vectors:
                pair = f"{row}_{vector}"
                add(f"  %{prefix}p{pair} = fmul {_WIDE} {weight}, %{prefix}x{vector}")
                add(f"  %{prefix}s{pair} = fadd {_WIDE} %a{pair}, %{prefix}p{pair}")
            if len(self.rows) > 1 and not masked:
                add(f"  %{prefix}f{row} = getelementptr i8, ptr %{prefix}wp{row}, i64 %ahead")
                add(f"  call void @llvm.prefetch.p0(ptr %{prefix}f{row}, i32 0, i32 3, i32 1)")

    def _load(self, name: str, pointer: str, kind: str, suffix: str, align: int, masked: bool) -> str:
        if not masked:
            return f"  {name} = load <{LANES} x {kind}>, ptr {pointer}, align {align}"
        return (
            f"  {name} = call <{LANES} x {kind}> @llvm.masked.load.v{LANES}{suffix}.p0(ptr {pointer}, i32 {align}, "
            f"<{LANES} x i1> %mask, <{LANES} x {kind}> zeroinitializer)"
        )

    def _widen(self, raw: str) -> str:
        """Append the exact conversion of stored elements; returns the name of the floats."""
        if self.dtype == FLOAT32:
            return raw
        if self.dtype == FLOAT16 and self.native_half:
            self.lines.append(f"  {raw}w = fpext <{LANES} x half> {raw} to {_WIDE}")
            return f"{raw}w"
        ints = f"<{LANES} x i32>"
        add = self.lines.append
        add(f"  {raw}z = zext <{LANES} x i16> {raw} to {ints}")
        add(f"  {raw}h = shl {ints} {raw}z, {_splat('i32', 16)}")
        if self.dtype == BFLOAT16:
            add(f"  {raw}w = bitcast {ints} {raw}h to {_WIDE}")
            return f"{raw}w"
        # Magnitude to its place, exponent corrected by an exact product (subnormals too); infinity and NaN apart.
        add(f"  {raw}g = and {ints} {raw}h, {_splat('i32', -(1 << 31))}")
        add(f"  {raw}n = and {ints} {raw}z, {_splat('i32', 0x7FFF)}")
        add(f"  {raw}m = shl {ints} {raw}n, {_splat('i32', 13)}")
        add(f"  {raw}f = bitcast {ints} {raw}m to {_WIDE}")
        add(f"  {raw}r = fmul {_WIDE} {raw}f, {_splat('float', '0x46F0000000000000')}")
        add(f"  {raw}i = bitcast {_WIDE} {raw}r to {ints}")
        add(f"  {raw}e = icmp uge {ints} {raw}n, {_splat('i32', 0x7C00)}")
        add(f"  {raw}o = or {ints} {raw}m, {_splat('i32', 0x7F800000)}")
        add(f"  {raw}c = select <{LANES} x i1> {raw}e, {ints} {raw}o, {ints} {raw}i")
        add(f"  {raw}s = or {ints} {raw}c, {raw}g")
        add(f"  {raw}w = bitcast {ints} {raw}s to {_WIDE}")
        return f"{raw}w"

    def _fold(self, row: int, vector: int) -> None:
        """Add upper half to lower half until one lane is left, and store it."""
        add, pair, width = self.lines.append, f"{row}_{vector}", LANES
        current = f"%f{pair}"
        while width > 1:
            half = width // 2
            for name, lanes in (("l", range(half)), ("u", range(half, width))):
                add(
                    f"  %{name}{pair}_{half} = shufflevector <{width} x float> {current}, <{width} x float> poison, "
                    f"<{half} x i32> <{_list('i32', lanes)}>"
                )
            add(f"  %g{pair}_{half} = fadd <{half} x float> %l{pair}_{half}, %u{pair}_{half}")
            current, width = f"%g{pair}_{half}", half
        add(f"  %r{pair} = extractelement <1 x float> {current}, i32 0")
        add(f"  %ra{pair} = mul i64 %result_step, {row}")
        add(f"  %rb{pair} = mul i64 %next, {vector}")
        add(f"  %rc{pair} = add i64 %ra{pair}, %rb{pair}")
        add(f"  %rp{pair} = getelementptr float, ptr %out, i64 %rc{pair}")
        add(f"  store float %r{pair}, ptr %rp{pair}, align 4")


def _list(kind: str, values: range) -> str:
    return ", ".join(f"{kind} {value}" for value in values)


def _splat(kind: str, value: object) -> str:
    return f"<{', '.join([f'{kind} {value}'] * LANES)}>"


def _driver(dtype: DType) -> str:
    """The exported function: tasks, panels of vectors, tiles of rows, tiles of vectors."""
    loads = "\n".join(
        f"  %p_{name} = getelementptr i64, ptr %task, i64 {index}\n"
        f"  %{name} = load {'ptr' if name in _POINTERS else 'i64'}, ptr %p_{name}, align 8"
        for index, name in enumerate(TASK_FIELDS)
    )
    calls = "\n".join(
        f"call_{rows}_{vectors}:\n  call void @tile_{dtype}_{rows}x{vectors}({_TILE_PARAMETERS})\n"
        "  br label %vector_next"
        for rows in (1, TILE_ROWS)
        for vectors in (1, TILE_VECTORS)
    )
    return f"""
define void @{function_name(dtype)}(ptr %tasks, i64 %number) {{
entry:
  br label %task_head
task_head:
  %t = phi i64 [0, %entry], [%t2, %task_next]
  %t_more = icmp slt i64 %t, %number
  br i1 %t_more, label %task_body, label %done
task_body:
  %task = getelementptr [{len(TASK_FIELDS)} x i64], ptr %tasks, i64 %t
{loads}
  br label %panel_head
panel_head:
  %p = phi i64 [0, %task_body], [%p2, %panel_next]
  %p_more = icmp slt i64 %p, %vector_count
  br i1 %p_more, label %panel_body, label %task_next
panel_body:
  %p2 = add i64 %p, {PANEL_VECTORS}
  %p_last = icmp slt i64 %p2, %vector_count
  %p_end = select i1 %p_last, i64 %p2, i64 %vector_count
  br label %row_head
row_head:
  %r = phi i64 [0, %panel_body], [%r2, %row_next]
  %r_more = icmp slt i64 %r, %rows
  br i1 %r_more, label %row_body, label %panel_next
row_body:
  %r_left = sub i64 %rows, %r
  %r_whole = icmp sge i64 %r_left, {TILE_ROWS}
  %r_step = select i1 %r_whole, i64 {TILE_ROWS}, i64 1
  %w_offset = mul i64 %r, %row_bytes
  %w = getelementptr i8, ptr %matrix, i64 %w_offset
  %row_offset = mul i64 %r, %result_step
  %row_result = getelementptr float, ptr %result, i64 %row_offset
  br label %vector_head
vector_head:
  %v = phi i64 [%p, %row_body], [%v2, %vector_next]
  %v_more = icmp slt i64 %v, %p_end
  br i1 %v_more, label %vector_body, label %row_next
vector_body:
  %v_left = sub i64 %p_end, %v
  %v_whole = icmp sge i64 %v_left, {TILE_VECTORS}
  %v_step = select i1 %v_whole, i64 {TILE_VECTORS}, i64 1
  %x_offset = mul i64 %v, %vector_step
  %x = getelementptr float, ptr %vectors, i64 %x_offset
  %out_offset = mul i64 %v, %next
  %out = getelementptr float, ptr %row_result, i64 %out_offset
  br i1 %r_whole, label %many_rows, label %one_row
many_rows:
  br i1 %v_whole, label %call_{TILE_ROWS}_{TILE_VECTORS}, label %call_{TILE_ROWS}_1
one_row:
  br i1 %v_whole, label %call_1_{TILE_VECTORS}, label %call_1_1
{calls}
vector_next:
  %v2 = add i64 %v, %v_step
  br label %vector_head
row_next:
  %r2 = add i64 %r, %r_step
  br label %row_head
panel_next:
  br label %panel_head
task_next:
  %t2 = add i64 %t, 1
  br label %task_head
done:
  ret void
}}
"""
