"""What is known of the model under the cursor, in plain words, and what to do next."""

from __future__ import annotations

from compiler.found_model import FoundModel
from compiler.quantity import counted, parameters_text
from hyperdex_tui.backend.inventory import BuildEntry, ModelEntry
from hyperdex_tui.formatting import wrap
from hyperdex_tui.widgets.model_list import Entry, HubTitle
from hyperdex_tui.widgets.painted import Line, Pane, line

_ROOM = 6
"""Lines from which a build's passes are named."""

_TALL = 9
"""Lines from which every sentence of the config gets its own."""


class ModelDetail(Pane):
    """A pane below the list."""

    def __init__(self) -> None:
        super().__init__(id="model-detail", classes="detail")

    def show_entry(self, entry: Entry | None, model: ModelEntry | None, build: BuildEntry | None) -> None:
        """Show the row under the cursor; `model` is the one it belongs to, `build` the one keys act on."""
        if isinstance(entry, FoundModel):
            self.show(_hub_lines(entry))
        elif isinstance(entry, HubTitle):  # its row is cut where the terminal is narrow
            width, height = max(20, self.size.width - 2), max(1, self.size.height)
            self.show([line((part, entry.role)) for part in wrap(entry.text, width, height)])
        elif entry is None or model is None:
            self.show([])
        else:
            self.show(self._model_lines(entry, model, build))

    def _model_lines(self, entry: Entry, model: ModelEntry, build: BuildEntry | None) -> list[Line]:
        lines: list[Line] = [line((model.model_id, "strong"), ("  " + facts(model), "dim"))]
        width, height = max(20, self.size.width), self.size.height
        if height >= _TALL:
            lines += [line(sentence) for sentence in model.words]
        elif not model.note:
            problems = 1 if model.unsupported else 0
            lines += [line(part) for part in wrap("; ".join(model.words), width, max(1, height - 3 - problems))]
        if model.summary and height >= _TALL:
            lines.append(line((model.summary, "dim")))
        lines.append(line(("licence ", "dim"), *_licence(model)))
        if problem := model.note or model.unsupported:
            lines += [line((part, "bad")) for part in wrap(f"✗ {problem}", width, 2)]
        if isinstance(entry, BuildEntry):
            lines[1:] = lines[1:] if height >= _TALL else []
            devices = counted(entry.num_devices, "device")
            tokens = f", {entry.max_length:,} tokens" if entry.max_length else ""
            lines.append(
                line(("build ", "dim"), (entry.name, "accent"), f"  {entry.target}, {devices}, {entry.dtype}{tokens}")
            )
            if height >= _ROOM and entry.passes:
                lines += [line((part, "dim")) for part in wrap(_chosen(entry), width, 2)]
            if entry.stale:
                lines.append(line(("! stale: " + entry.stale, "warn"), "; press c to compile again"))
        return [*lines, _next_step(entry, model, build)]


def _chosen(build: BuildEntry) -> str:
    """The passes of a build, with what the cost model chose, and the wiring it chose it for."""
    wiring = f"; wired as {build.topology}" if build.topology and build.num_devices > 1 else ""
    return f"passes {', '.join(build.passes)}{wiring}"


def facts(model: ModelEntry | FoundModel) -> str:
    """Architecture, parameters and dtype, as far as known."""
    parameters = f"{parameters_text(model.parameters)} parameters" if model.parameters else ""
    return ", ".join(part for part in (model.architecture, parameters, model.dtype) if part)


def _licence(model: ModelEntry) -> Line:
    named = (model.licence, "text") if model.licence else ("not named; no model card here", "dim")
    return line(named, ("; gated: the hub asks for an agreement" if model.is_gated else "", "warn"))


def _hub_lines(entry: FoundModel) -> list[Line]:
    updated = f", changed {entry.updated}" if entry.updated else ""
    verdict = ("✓ this compiler handles it", "good")
    if not entry.is_supported:
        reason = "its architecture is not supported" if entry.architecture else "the hub does not say its architecture"
        verdict = (f"! {reason}; hyperdex models --supported lists those that are", "warn")
    return [
        line((entry.model_id, "strong"), ("  " + facts(entry), "dim")),
        line(("licence ", "dim"), entry.licence or "not named", (f"   access {entry.access}", "dim")),
        line((f"on the hub: {entry.downloads:,} downloads in 30 days{updated}", "dim")),
        line(verdict),
        line(("f", "accent"), " where it fits   ", ("D", "accent"), " download   ", ("c", "accent"), " compile"),
    ]


def _next_step(entry: Entry, model: ModelEntry, build: BuildEntry | None) -> Line:
    fit = (("f", "accent"), (" where it fits", "text"))
    if build is not None and build.complete:
        delete = ((("x", "accent"), " delete it   ")) if isinstance(entry, BuildEntry) else ()
        return line(
            *(("i", "accent"), " instructions   ", ("m", "accent"), " memory map   ", ("p", "accent"), " prompt it   "),
            *delete,
            *fit,
        )
    if isinstance(entry, BuildEntry):
        return line(("c", "accent"), " compiles it to the end   ", ("x", "accent"), " deletes it")
    if model.note or model.unsupported:
        return line(
            ("r", "accent"), " reads the prefix again   ", ("/", "accent"), " finds others, here and on the hub"
        )
    return line("No build yet: ", ("c", "accent"), " chooses devices and compiles   ", *fit)
