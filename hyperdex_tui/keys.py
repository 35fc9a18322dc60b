"""THE key table: bindings, key bar, help screen and command palette all read it.

A key belongs to a scope: "app" (everywhere), "view" (any screen with rows to
copy), "list" (any list) or the name of a screen. The same key may mean different things on different screens; within
one scope it means one thing.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Key:
    """One action and the keys that trigger it.

    Attributes:
        scope: where it works.
        keys: Textual key names, comma separated; the first is shown.
        action: action of the screen or widget the scope names.
        label: one or two words for the key bar; "" keeps it out of the bar.
        synopsis: one line for help and palette.
        shown: how the key is written, when not as its name.
        palette: whether the command palette offers it.
        barred: how the key bar writes it, when otherwise: together with its opposite, say.
    """

    scope: str
    keys: str
    action: str
    label: str
    synopsis: str
    shown: str = ""
    palette: bool = True
    barred: str = ""

    @property
    def cap(self) -> str:
        """The key as people write it."""
        return self.shown or self.keys.partition(",")[0]

    @property
    def bar_cap(self) -> str:
        """The key as the key bar writes it."""
        return self.barred or self.cap


KEYS: tuple[Key, ...] = (
    Key("app", "question_mark,f1", "help", "help", "Show every key of this screen", "? F1", barred="?"),
    Key("app", "escape", "back", "", "One step back: close the prompt, clear the filter, leave", "Esc", False),
    Key("app", "q", "quit", "", "Quit; a running compile goes on and can be attached again"),
    Key("app", "ctrl+p", "command_palette", "", "Open the command palette", "Ctrl+P", False),
    Key("view", "y", "copy", "", "Copy the row or the marked rows to your clipboard, over SSH too"),
    Key("view", "Y", "copy_cell", "", "Choose one cell of the row and copy it"),
    Key("view", "e", "export", "", "Write the rows or the marked ones to a file: text, CSV or JSON"),
    Key("app", "f2", "switch_theme", "", "Next theme: dark, light, high contrast", "F2"),
    Key("list", "down,j", "cursor_down", "", "Next line", "j ↓", False),
    Key("list", "up,k", "cursor_up", "", "Previous line", "k ↑", False),
    Key("list", "pagedown,ctrl+f,ctrl+d", "page_down", "", "One page down", "PgDn ^F", False),
    Key("list", "pageup,ctrl+b,ctrl+u", "page_up", "", "One page up", "PgUp ^B", False),
    Key("list", "home,g", "first", "", "First line", "g Home", False),
    Key("list", "end,G", "last", "", "Last line", "G End", False),
    Key("list", "enter", "choose", "", "Open what the cursor is on", "Enter", False),
    Key("list", "v", "mark", "", "Mark rows from here to the cursor; v or Esc ends it", "v", False),
    Key("models", "enter", "open", "open", "Open the instructions of a build; compile a model without one", "Enter"),
    Key("models", "slash", "filter", "find", "Find models by a part of their name, here and on the hub", "/"),
    Key("models", "a", "add", "", "Compile a model of the Hugging Face Hub by its id"),
    Key("models", "c", "compile", "compile", "Choose devices, target and dtype, then compile"),
    Key("models", "f", "fit", "fit", "Where it fits and how fast: every target, 1 to 32 devices"),
    Key("models", "i", "instructions", "instr", "Instruction list of the build"),
    Key("models", "m", "memory", "map", "Memory map of the build"),
    Key("models", "p", "prompt", "prompt", "Generate tokens with the emulator"),
    Key("models", "E", "machine", "machine", "Step through the build on the emulator"),
    Key("models", "J", "jobs", "jobs", "Compiles of this prefix, running and finished"),
    Key("models", "D", "download", "", "Download the checkpoint and nothing more"),
    Key("models", "x", "delete", "", "Delete the build under the cursor, after asking"),
    Key("models", "r", "rescan", "", "Read the prefix again"),
    Key("fit", "enter,c", "compile", "compile", "Compile for the target and number of devices of the row", "Enter"),
    Key("fit", "r", "rescan", "again", "Estimate again"),
    Key("compile", "enter,s", "start", "start", "Start the compile", "Enter"),
    Key("compile", "down,j,tab", "next_field", "", "Next field", "j ↓", False),
    Key("compile", "up,k,shift+tab", "previous_field", "", "Previous field", "k ↑", False),
    Key(
        "compile", "right,l", "increase", "change", "Next value of the field; digits type a number", "→ l", False, "← →"
    ),
    Key("compile", "left,h", "decrease", "", "Previous value of the field", "← h", False),
    Key("compile", "space", "switch", "switch", "Switch an option on or off", "Space", False),
    Key("jobs", "enter", "attach", "attach", "Follow the job", "Enter"),
    Key("jobs", "x", "cancel", "cancel", "Stop the compile under the cursor (SIGTERM), after asking"),
    Key("jobs", "r", "rescan", "rescan", "Read the job files again"),
    Key("run", "x", "cancel", "cancel", "Stop the compile (SIGTERM); finished phases stay"),
    Key("run", "d", "detach", "detach", "Leave; the compile goes on"),
    Key("run", "i", "instructions", "instr", "Instruction list of the build"),
    Key("run", "m", "memory", "map", "Memory map of the build"),
    Key("run", "p", "prompt", "prompt", "Generate tokens with the emulator"),
    Key("run", "R", "retry", "again", "Start the job once more, with its own options"),
    Key("run", "c", "compile", "", "Choose anew, then compile"),
    Key("run", "L", "level", "level", "Log: everything, phases and problems, problems"),
    Key("run", "slash", "filter", "filter", "Show only lines of the log that contain a text", "/"),
    Key("instructions", "enter", "region", "region", "Show the memory region of the instruction", "Enter"),
    Key(
        "instructions", "slash", "search", "search", "Search for regular expressions, also in one field (unit:sma)", "/"
    ),
    Key("instructions", "n", "search_next", "", "Next match"),
    Key("instructions", "N", "search_previous", "", "Previous match"),
    Key("instructions", "f", "filter", "filter", "Show only instructions that a search would find"),
    Key("instructions", "t", "filter_tensor", "", "Show only instructions of the same tensor"),
    Key("instructions", "left_square_bracket", "previous_section", "", "Previous layer", "["),
    Key("instructions", "right_square_bracket", "next_section", "layer", "Next layer", "]"),
    Key("instructions", "space,z", "fold", "", "Fold or unfold this layer", "Space"),
    Key("instructions", "Z", "fold_all", "", "Fold or unfold every layer"),
    Key("instructions", "colon", "goto", "goto", "Go to an index, a label, a layer (layer 3) or a byte (0x200)", ":"),
    Key("instructions", "x", "mark_ab", "mark", "Mark this line; two marks show distance and dependence"),
    Key("instructions", "less_than_sign", "producer", "", "To the instruction that makes what this one reads", "<"),
    Key("instructions", "greater_than_sign", "consumer", "", "To the first instruction that reads the result", ">"),
    Key("instructions", "backspace", "jump_back", "", "Back to where the last jump began", "Backspace"),
    Key("instructions", "C", "columns", "", "Choose the columns"),
    Key("instructions", "d", "detail", "detail", "Tall or short detail pane: every field with its bits"),
    Key("instructions", "c", "cycles", "", "Calculate the cycles of a token"),
    Key("instructions", "m", "memory", "", "Memory map of the build"),
    Key("instructions", "E", "machine", "", "Debug on the emulator, with a breakpoint at this line"),
    Key("instructions", "p", "prompt", "", "Generate tokens with the emulator"),
    Key("instructions", "w", "compare", "", "Compare with another build, or this one without a pass"),
    Key("compare", "enter,space", "fold", "unfold", "Show both sides' instructions of the operation", "Enter", False),
    Key("compare", "right_square_bracket", "next_change", "change", "Next operation that differs", "]"),
    Key("compare", "left_square_bracket", "previous_change", "", "Previous operation that differs", "["),
    Key("compare", "D", "only_changes", "differing", "Only the operations that differ, or all"),
    Key("compare", "i", "instructions", "instr", "The operation in the instruction list of the left build"),
    Key("columns", "space,enter", "switch", "show/hide", "Show or hide the column", "Space", False),
    Key("columns", "escape,C,q", "close", "done", "Done", "Esc", False),
    Key("rivals", "enter", "choose", "compare", "Compare with it", "Enter", False),
    Key("rivals", "escape", "close", "close", "Close", "Esc", False),
    Key("memory", "enter", "descend", "open", "Unfold a layer; show the bytes of a region", "Enter"),
    Key("memory", "i", "instructions", "instr", "Show the instructions that use the region"),
    Key("memory", "slash", "filter", "filter", "Show only regions that contain a text", "/"),
    Key("memory", "s", "sort", "", "Sort by address, size or name"),
    Key("memory", "l", "group", "layers", "Regions by layer, or one by one"),
    Key("memory", "plus,equals_sign", "zoom_in", "zoom", "Zoom the bar in on the region; the list follows", "+"),
    Key("memory", "minus", "zoom_out", "", "Zoom out, at last to the whole channel with its free end", "-"),
    Key("memory", "0", "zoom_reset", "", "Everything that is used"),
    Key("memory", "left", "pan_left", "", "Move the zoomed bar to lower addresses", "←"),
    Key("memory", "right", "pan_right", "", "Move the zoomed bar to higher addresses", "→"),
    Key("memory", "t", "treemap", "boxes", "The device as boxes to scale: layers, tensors, tiles, bytes"),
    Key("memory", "C", "colour", "", "Colours by kind or by layer"),
    Key("memory", "c", "channels", "channels", "Use of every channel of every device: elements, padding, free"),
    Key("memory", "left_square_bracket", "previous_kind", "", "Previous kind of region", "["),
    Key("memory", "right_square_bracket", "next_kind", "", "Next kind of region", "]"),
    Key("memory", "p", "prompt", "", "Generate tokens with the emulator"),
    Key("bytes", "right,l", "next_element", "element", "Next element", "→ l", False, "← →"),
    Key("bytes", "left,h", "previous_element", "", "Previous element", "← h", False),
    Key("bytes", "right_square_bracket", "next_tile", "tile", "Next tile: 32 rows further", "]"),
    Key("bytes", "left_square_bracket", "previous_tile", "", "Previous tile", "["),
    Key("bytes", "full_stop", "next_channel", "channel", "The same place in the next channel", "."),
    Key("bytes", "comma", "previous_channel", "", "The same place in the previous channel", ","),
    Key("bytes", "d", "next_device", "device", "The same place on the next device"),
    Key("bytes", "colon", "goto", "goto", "Go to an element of the tensor (12, 40) or a byte (0x1000)", ":"),
    Key("bytes", "i", "instructions", "instr", "Show the instructions that use the region"),
    Key("treemap", "enter", "descend", "in", "Into the box; a single tile shows its bytes", "Enter", False),
    Key("treemap", "escape,backspace", "back", "out", "Out of the box, at last out of the screen", "Esc", False),
    Key("treemap", "i", "instructions", "instr", "Show the instructions that use the region of the box"),
    Key("treemap", "C", "colour", "colour", "Colours by kind or by layer"),
    Key("treemap", "left,h", "left", "", "The box on the left", "← h", False),
    Key("treemap", "right,l", "right", "box", "The box on the right", "→ l", False, "← →"),
    Key("treemap", "up,k", "up", "", "The box above", "k ↑", False),
    Key("treemap", "down,j", "down", "", "The box below", "j ↓", False),
    Key("treemap", "n,tab", "next_box", "", "The next box by address", "n Tab", False),
    Key("treemap", "N,shift+tab", "previous_box", "", "The box before by address", "N", False),
    Key("channels", "d", "next_device", "device", "Next device"),
    Key("channels", "escape,c", "app.back", "back", "Back to the map", "Esc", False),
    Key("machine", "s", "step", "step", "Execute one instruction"),
    Key("machine", "o", "step_op", "op", "To behind the last instruction of this op"),
    Key("machine", "l", "step_layer", "layer", "To the next layer"),
    Key("machine", "t", "step_token", "token", "To the next token"),
    Key("machine", "c", "run", "run", "Run to a breakpoint or to the end of the text"),
    Key("machine", "x", "stop", "stop", "Stop the run between two instructions"),
    Key("machine", "b", "break_here", "break", "Set or remove a breakpoint at the cursor of the listing"),
    Key("machine", "n", "new", "new", "Type a prompt; resets the machine, breakpoints stay"),
    Key("machine", "T", "timeline", "time", "Timeline of the units for the token that is fed"),
    Key("machine", "B", "break_on", "", "Break on an opcode, a layer, a tensor, NaN or infinity"),
    Key("machine", "D", "delete", "", "Remove the breakpoint under the cursor of their list, else all"),
    Key("machine", "d", "device", "", "Show the next device"),
    Key("machine", "colon", "goto", "", "Look at an LMU address, a region of HBM, or an instruction", ":"),
    Key("machine", "greater_than_sign", "page(1)", "", "The next page of LMU or HBM", ">"),
    Key("machine", "less_than_sign", "page(-1)", "", "The page of LMU or HBM before", "<"),
    Key("machine", "tab", "pane", "", "The keyboard to the next pane", "Tab", False),
    Key("machine", "1", "view(1)", "", "View: values that the instruction reads and wrote"),
    Key("machine", "2", "view(2)", "", "View: registers"),
    Key("machine", "3", "view(3)", "", "View: LMU"),
    Key("machine", "4", "view(4)", "", "View: HBM"),
    Key("machine", "5", "view(5)", "", "View: tokens and their candidates"),
    Key("machine", "6", "view(6)", "", "View: breakpoints"),
    Key("machine", "7", "view(7)", "", "View: counters: ms/token, bandwidth, energy, stalls"),
    Key("machine", "V", "compare", "", "Compare with transformers; go to the first that differs"),
    Key("machine", "i", "instructions", "", "The instruction under the cursor in the whole program"),
    Key("machine", "m", "memory", "", "Memory map of the build"),
    Key("machine", "p", "prompt", "", "Generate tokens with the emulator"),
    Key("timeline", "left,h", "left", "", "One column back", "← h", False),
    Key("timeline", "right,l", "right", "move", "One column on", "→ l", False, "← →"),
    Key("timeline", "up,k", "unit_up", "", "The unit above", "↑ k", False),
    Key("timeline", "down,j", "unit_down", "unit", "The unit below", "↓ j", False, "↑ ↓"),
    Key("timeline", "plus,equals_sign", "zoom_in", "in", "Half as many cycles around the cursor", "+"),
    Key("timeline", "minus", "zoom_out", "out", "Twice as many cycles", "-"),
    Key("timeline", "0", "whole", "", "The whole token"),
    Key("timeline", "pageup,H", "page_left", "", "Half a window back", "PgUp", False),
    Key("timeline", "pagedown,L", "page_right", "", "Half a window on", "PgDn", False),
    Key("timeline", "n", "next_slice", "next", "The next instruction of the unit"),
    Key("timeline", "N", "previous_slice", "", "The previous instruction of the unit"),
    Key("timeline", "right_square_bracket", "next_token", "token", "The next token", "]"),
    Key("timeline", "left_square_bracket", "previous_token", "", "The previous token", "["),
    Key("timeline", "colon", "goto", "", "Go to the token at a position", ":"),
    Key("timeline", "P", "kind", "", "A token of the prompt, or one that is generated"),
    Key("timeline", "w", "trace", "trace", "Save the token for Perfetto"),
    Key("timeline", "enter", "instructions", "instr", "The instruction in the whole program", "Enter"),
    Key("generate", "enter", "generate", "generate", "Run the prompt", "Enter", False),
    Key("generate", "tab", "app.focus_next", "field", "Next field", "Tab", False),
    Key("generate", "ctrl+o", "machine", "machine", "Look at the machine as the run left it", "^O"),
    Key("generate", "f1", "app.help", "help", "Show every key of this screen; ? is text here", "F1", False),
    Key("generate", "escape", "back", "stop/back", "Stop the run, then leave", "Esc", False),
    Key("prompt", "enter", "submit", "apply", "Use the text", "Enter", False),
    Key("prompt", "escape", "app.back", "close", "Close the prompt", "Esc", False),
    Key("ask", "y,enter", "yes", "yes", "Yes", "y", False),
    Key("ask", "n,escape", "no", "no", "No", "n", False),
    Key("cells", "enter,y", "choose", "copy", "Copy the cell", "Enter", False),
    Key("cells", "escape", "close", "close", "Close", "Esc", False),
    Key("export", "enter", "write", "write", "Write the file", "Enter", False),
    Key("export", "tab", "next_format", "format", "Next format", "Tab", False),
    Key("export", "escape", "close", "close", "Close, or stop writing", "Esc", False),
    Key("help", "escape,q,question_mark", "close", "close", "Close", "Esc", False),
)

SCOPE_TITLES: dict[str, str] = {
    "app": "Everywhere",
    "view": "Copy and export",
    "list": "Lists",
    "models": "Models",
    "fit": "Fit",
    "compile": "Compile",
    "jobs": "Jobs",
    "run": "Run",
    "instructions": "Instructions",
    "compare": "Two builds",
    "columns": "Columns",
    "rivals": "Compare with",
    "memory": "Memory map",
    "bytes": "Bytes",
    "channels": "Channels",
    "treemap": "Treemap",
    "machine": "Machine",
    "timeline": "Timeline",
    "generate": "Generate",
    "prompt": "Prompt line",
    "ask": "Question",
    "cells": "Copy a cell",
    "export": "Export",
    "help": "Help",
}


def keys_of(scope: str) -> tuple[Key, ...]:
    """The keys of one scope, in table order."""
    return tuple(key for key in KEYS if key.scope == scope)


def bindings(scope: str) -> list[BindingType]:
    """Textual bindings of one scope."""
    return [Binding(key.keys, key.action, key.label or key.synopsis, show=False) for key in keys_of(scope)]
