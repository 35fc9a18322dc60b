"""Every architecture this compiler knows, as an explicit table.

In: a `CheckpointConfig`. Out: its graph, or one line that says why not. Only
`config.json` is read, and nothing is allocated for a model that is refused.
"""

from __future__ import annotations

from compiler.checkpoint.config import CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures.apertus import APERTUS
from compiler.graph.architectures.bloom import BLOOM, MPT
from compiler.graph.architectures.cohere import COHERE, COHERE2
from compiler.graph.architectures.cwm import CWM
from compiler.graph.architectures.ernie import ERNIE4_5, ERNIE4_5_MOE
from compiler.graph.architectures.exaone import EXAONE, EXAONE4, EXAONE_MOE
from compiler.graph.architectures.falcon import FALCON
from compiler.graph.architectures.family import Architecture
from compiler.graph.architectures.gemma import GEMMA, GEMMA2, GEMMA3, VAULT_GEMMA
from compiler.graph.architectures.glm import GLM, GLM4
from compiler.graph.architectures.glm_moe import DOTS1, GLM4_MOE, SOLAR_OPEN
from compiler.graph.architectures.gpt2 import CODEGEN, GPT2, GPT_BIGCODE, GPTJ
from compiler.graph.architectures.gpt_neo import GPT_NEO
from compiler.graph.architectures.gpt_neox import GPT_NEOX
from compiler.graph.architectures.gpt_oss import GPT_OSS
from compiler.graph.architectures.granite import GRANITE, GRANITE_MOE, GRANITE_MOE_SHARED, HYPERCLOVAX
from compiler.graph.architectures.granite_swa import GRANITE_MOE_SWA, GRANITE_SWA
from compiler.graph.architectures.helium import HELIUM
from compiler.graph.architectures.hunyuan import HUNYUAN, HUNYUAN_MOE
from compiler.graph.architectures.llama import LLAMA
from compiler.graph.architectures.mellum import MELLUM
from compiler.graph.architectures.minimax import MINIMAX_M2
from compiler.graph.architectures.mistral import MINISTRAL, MINISTRAL3, MISTRAL
from compiler.graph.architectures.mixtral import MIXTRAL, OLMOE, QWEN2_MOE, QWEN3_MOE
from compiler.graph.architectures.nanochat import NANOCHAT
from compiler.graph.architectures.nemotron import ARCEE, JAIS2, NEMOTRON
from compiler.graph.architectures.olmo import FLEX_OLMO, OLMO, OLMO2, OLMO3
from compiler.graph.architectures.opt import OPT
from compiler.graph.architectures.persimmon import PERSIMMON
from compiler.graph.architectures.phi import PHI, PHI3
from compiler.graph.architectures.qwen import QWEN2, QWEN3
from compiler.graph.architectures.seed_oss import SEED_OSS
from compiler.graph.architectures.smollm3 import SMOLLM3
from compiler.graph.architectures.stablelm import STABLELM
from compiler.graph.architectures.starcoder2 import STARCODER2
from compiler.graph.architectures.wrapped import GEMMA3_WRAPPED, LLAVA, MISTRAL3
from compiler.graph.ir import Graph

SUPPORTED: tuple[Architecture, ...] = (
    APERTUS,
    ARCEE,
    BLOOM,
    CODEGEN,
    COHERE,
    COHERE2,
    CWM,
    DOTS1,
    ERNIE4_5,
    ERNIE4_5_MOE,
    EXAONE,
    EXAONE4,
    EXAONE_MOE,
    FALCON,
    FLEX_OLMO,
    GEMMA,
    GEMMA2,
    GEMMA3,
    GEMMA3_WRAPPED,
    GLM,
    GLM4,
    GLM4_MOE,
    GPT2,
    GPT_BIGCODE,
    GPTJ,
    GPT_NEO,
    GPT_NEOX,
    GPT_OSS,
    GRANITE,
    GRANITE_MOE,
    GRANITE_MOE_SHARED,
    GRANITE_MOE_SWA,
    GRANITE_SWA,
    HELIUM,
    HUNYUAN,
    HUNYUAN_MOE,
    HYPERCLOVAX,
    JAIS2,
    LLAMA,
    LLAVA,
    MELLUM,
    MINIMAX_M2,
    MINISTRAL,
    MINISTRAL3,
    MISTRAL,
    MISTRAL3,
    MIXTRAL,
    MPT,
    NANOCHAT,
    NEMOTRON,
    OLMO,
    OLMO2,
    OLMO3,
    OLMOE,
    OPT,
    PERSIMMON,
    PHI,
    PHI3,
    QWEN2,
    QWEN2_MOE,
    QWEN3,
    QWEN3_MOE,
    SEED_OSS,
    SMOLLM3,
    SOLAR_OPEN,
    STABLELM,
    STARCODER2,
    VAULT_GEMMA,
)

_HARMLESS = (".rotary_emb.inv_freq", ".attn.masked_bias", ".attention.masked_bias")


def find_architecture(config: CheckpointConfig) -> Architecture:
    """The family of a config.

    Raises:
        UnsupportedModelError: unknown, remote-code or quantised; names what is supported.
    """
    name = config.architecture
    text = CheckpointConfig(config.table("text_config"))
    quantisation = config.table("quantization_config") or text.table("quantization_config")
    if quantisation:
        method = str(quantisation.get("quant_method", "unknown"))[:40]
        raise UnsupportedModelError(
            f"config.json: quantization_config names method {method!r}; quantised weights are not supported",
            "use the unquantised checkpoint",
        )
    for architecture in SUPPORTED:
        if architecture.name == name:
            return architecture
    kind = text.fields.get("model_type")
    if kind is not None:
        raise UnsupportedModelError(
            f"architecture {name[:80]!r} is not supported: it wraps a language model of type {str(kind)[:40]!r}",
            "use a checkpoint of the language model alone",
        )
    remote = " (it needs code of its own, auto_map, which is never run)" if config.table("auto_map") else ""
    raise UnsupportedModelError(
        f"architecture {name[:80]!r} is not supported{remote}",
        f"`hyperdex models --supported` lists the {len(SUPPORTED)} that are",
    )


def build_graph(config: CheckpointConfig) -> Graph:
    """The graph of one decode step, straight from the config, before any pass.

    Raises:
        UnsupportedModelError: not supported, or a field that makes no sense.
    """
    return find_architecture(config).graph(config)


def is_harmless(name: str, graph: Graph) -> bool:
    """Whether a checkpoint tensor that the graph does not read may be ignored.

    Buffers that transformers recomputes, and the copy of a tied head.
    """
    own = next((each for each in SUPPORTED if each.name == graph.architecture), None)
    endings, beginnings = (own.harmless, own.beside) if own else ((), ())
    return name.endswith((*_HARMLESS, *endings)) or name.startswith(beginnings) or name == "lm_head.weight"
