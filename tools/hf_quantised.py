#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hf_quantised.py vectors|seeds|folders|references OUT [NAME ...] - matrices and tiny folders in every layout that we read.

vectors: tests/data/quant/NAME.safetensors, one matrix each, with what its maker's program reads from it
("expected").  seeds: the same for the fuzzer of folders (tests/data/corpus/hfjson).  folders: for each layout a folder NAME with a llama of two layers, and NAME-plain, the same with what
the maker's program reads as f32: `llmos run` must say the same of both.  references: folders hf-NAME of
tests/data, with what transformers computes of what the maker's program reads.

GPTQ and AWQ are packed here and unpacked by GPTQModel and AutoAWQ; compressed-tensors and bitsandbytes pack and
unpack by themselves.  Needs torch, transformers, gptqmodel, compressed-tensors and bitsandbytes, and the file
awq/utils/packing_utils.py of AutoAWQ; where one is missing its layouts are left out, aloud.
"""
import importlib.util
import json
import os
import sys

import safetensors.torch
import torch

GROUP = 32


# ---- numbers of a few bits ----

def scales_of(w, bits, group, symmetric):
    """The scale and the zero of each group of columns: [rows][groups] each."""
    parts = w.reshape(w.shape[0], -1, group)
    top = 2 ** bits - 1
    if symmetric:
        return parts.abs().amax(-1) / (top / 2), torch.full(parts.shape[:2], (top + 1) // 2)
    low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
    scale = (high - low) / top
    return scale, torch.round(-low / scale).int()


def codes_of(w, scale, zero, groups, bits):
    scale, zero = scale.float()[:, groups], zero[:, groups]
    return torch.clamp(torch.round(w / scale) + zero, 0, 2 ** bits - 1).long()


def stream(numbers, bits):
    """Rows of numbers as rows of words: number i begins at bit i * bits."""
    spread = (numbers[..., None] >> torch.arange(bits)) & 1
    spread = spread.reshape(numbers.shape[0], -1, 32)
    words = (spread << torch.arange(32)).sum(-1)
    return torch.where(words >= 2 ** 31, words - 2 ** 32, words).to(torch.int32)


# ---- GPTQ ----

def gptq(w, bits, group, symmetric, form="gptq", shuffled=False):
    rows, columns = w.shape
    group = columns if group < 0 else group
    groups = torch.arange(columns) // group
    if shuffled:
        groups = groups[torch.randperm(columns)]
    scale, zero = scales_of(w[:, groups.argsort(stable=True)], bits, group, symmetric)
    scale = scale.half()
    less = 1 if form == "gptq" else 0
    zero = zero.clamp(min=less)  # a zero of 0 has no place there
    codes = codes_of(w, scale, zero, groups, bits)
    tensors = {"qweight": stream(codes, bits).t().contiguous(),
               "qzeros": stream((zero.t().long() - less) % 2 ** bits, bits),
               "scales": scale.t().contiguous(), "g_idx": groups.to(torch.int32)}
    config = dict(quant_method="gptq", bits=bits, group_size=-1 if group == columns else group, sym=symmetric,
                  desc_act=shuffled, checkpoint_format=form, lm_head=False)
    return tensors, config, gptq_judge(tensors, bits, group, symmetric, form, shuffled)


def gptq_judge(tensors, bits, group, symmetric, form, shuffled):
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module
    columns, rows = len(tensors["g_idx"]), tensors["scales"].shape[1]
    m = TorchLinear(bits=bits, group_size=group, sym=symmetric, desc_act=shuffled, in_features=columns,
                    out_features=rows, bias=False)
    m.load_state_dict({k: v.clone() for k, v in tensors.items()}, strict=False)
    if form == "gptq":
        convert_gptq_v1_to_v2_format_module(m, bits, torch.int32)
    m.post_init()
    m.scales = m.scales.float()  # products as they are, not rounded to f16
    return m.dequantize_weight().t().float()


# ---- AWQ ----

def awq(w, group):
    rows, columns = w.shape
    group = columns if group < 0 else group
    scale, zero = scales_of(w, 4, group, False)
    scale = scale.half()
    codes = codes_of(w, scale, zero, torch.arange(columns) // group, 4)

    def words(numbers):  # [x][outputs]
        return stream(numbers.reshape(-1, 8)[:, [0, 2, 4, 6, 1, 3, 5, 7]].reshape(numbers.shape), 4)

    tensors = {"qweight": words(codes.t()), "qzeros": words(zero.t().long()), "scales": scale.t().contiguous()}
    config = dict(quant_method="awq", bits=4, group_size=-1 if group == columns else group, zero_point=True,
                  version="gemm")
    judge = awq_judge().dequantize_gemm(tensors["qweight"], tensors["qzeros"], tensors["scales"].float(), 4, group)
    return tensors, config, judge.t()


def awq_judge():
    for folder in sys.path:
        path = os.path.join(folder, "awq/utils/packing_utils.py")
        if os.path.exists(path):  # its package loads much that is not needed, and may be missing
            spec = importlib.util.spec_from_file_location("packing_utils", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise ImportError("no AutoAWQ")


# ---- compressed-tensors ----

def compressed(w, form, scale, zero=None, dtype=torch.float32, whole=None, **args):
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**args), format=form)
    compressor = BaseCompressor.get_value_from_registry(form)
    given = {"weight": w.clone(), "weight_scale": scale.to(dtype)}
    if zero is not None:
        given["weight_zero_point"] = zero
    if whole is not None:
        given["weight_global_scale"] = whole
    tensors = compressor.compress(given, scheme)
    exact = dict(tensors)
    if exact["weight_scale"].dtype in (torch.bfloat16, torch.float16):
        exact["weight_scale"] = exact["weight_scale"].float()  # products as they are
    if whole is None:
        judge = compressor.decompress(exact, scheme)["weight"].float()
    else:  # it would round to bf16
        from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
        from compressed_tensors.quantization.lifecycle.forward import dequantize
        judge = dequantize(unpack_fp4_from_uint8(exact["weight_packed"], *w.shape, dtype=torch.float32),
                           exact["weight_scale"].float(), args=scheme.weights, global_scale=whole)
    config = dict(quant_method="compressed-tensors", format=form, quantization_status="compressed", ignore=["lm_head"],
                  config_groups={"group_0": dict(targets=["Linear"], weights=args, format=form)})
    return tensors, config, judge


def packed(w, bits, group, symmetric, dtype=torch.bfloat16):
    group = w.shape[1] if group < 0 else group
    scale, zero = scales_of(w, bits, group, symmetric)
    grouped = group < w.shape[1]
    args = dict(num_bits=bits, type="int", symmetric=symmetric, strategy="group" if grouped else "channel")
    if grouped:
        args["group_size"] = group
    zero = None if symmetric else (zero - 2 ** (bits - 1)).to(torch.int8)
    return compressed(w, "pack-quantized", scale.to(dtype), zero, dtype, **args)


def packed_in_order(w, bits, group):
    """Groups of columns in the order of their activations, as older versions of the program wrote them."""
    groups = (torch.arange(w.shape[1]) // group)[torch.randperm(w.shape[1])]
    order = groups.argsort(stable=True)
    tensors, config, judge = packed(w[:, order], bits, group, True)
    inverse = order.argsort()
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
    codes = unpack_from_int32(tensors["weight_packed"], bits, w.shape)[:, inverse].contiguous()
    tensors["weight_packed"] = pack_to_int32(codes, bits)
    tensors["weight_g_idx"] = groups.to(torch.int32)
    config["config_groups"]["group_0"]["weights"]["actorder"] = "group"
    return tensors, config, judge[:, inverse]


def int8(w, per_row, symmetric):
    scale, zero = scales_of(w if per_row else w.reshape(1, -1), 8, w.shape[1] if per_row else w.numel(), symmetric)
    zero = None if symmetric else (zero - 128).to(torch.int8)
    if not per_row:
        scale, zero = scale.reshape(1), None if zero is None else zero.reshape(1)
    return compressed(w, "int-quantized", scale, zero, num_bits=8, type="int", symmetric=symmetric,
                      strategy="channel" if per_row else "tensor")


def fp8(w, strategy):
    args = dict(num_bits=8, type="float", symmetric=True, strategy=strategy)
    if strategy == "block":
        args["block_structure"] = [24, 40]
        blocks = [c for r in w.split(24, 0) for c in r.split(40, 1)]
        scale = torch.stack([b.abs().max() / 448 for b in blocks]).reshape(-(-w.shape[0] // 24), -1)
    else:
        scale = w.abs().amax(1, keepdim=True) / 448 if strategy == "channel" else (w.abs().max() / 448).reshape(1)
    return compressed(w, "float-quantized", scale, **args)


def fp4(w, form):
    if form == "nvfp4-pack-quantized":
        whole = (448 * 6 / w.abs().max()).reshape(1).float()
        scale = (w.reshape(w.shape[0], -1, 16).abs().amax(-1) / 6 * whole).to(torch.float8_e4m3fn).float()
        return compressed(w, form, scale, whole=whole, num_bits=4, type="float", symmetric=True, group_size=16,
                          strategy="tensor_group")
    scale = torch.exp2(torch.floor(torch.log2(w.reshape(w.shape[0], -1, 32).abs().amax(-1) / 4)))
    return compressed(w, form, scale, num_bits=4, type="float", symmetric=True, group_size=32, strategy="group")


# ---- bitsandbytes ----

def bnb4(w, kind, nested):
    import bitsandbytes.functional as F
    codes, state = F.quantize_4bit(w, blocksize=64, quant_type=kind, compress_statistics=nested)
    tensors = {"weight": codes}
    tensors.update({"weight." + k: v for k, v in state.as_dict(packed=True).items()})
    config = dict(quant_method="bitsandbytes", load_in_4bit=True, bnb_4bit_quant_type=kind,
                  bnb_4bit_use_double_quant=nested)
    if w.shape[1] % 64 == 0:
        return tensors, config, F.dequantize_4bit(codes, state).float()
    # Blocks go on from row to row, which its kernel for CPUs (0.50) takes for an end of the row.
    absmax = state.absmax
    if nested:
        absmax = F.dequantize_blockwise(absmax, state.state2) + state.offset
    codes = torch.stack([codes.flatten() >> 4, codes.flatten() & 15], -1).flatten().long()
    return tensors, config, (state.code[codes].reshape(-1, 64) * absmax[:, None]).reshape(w.shape)


def bnb8(w):
    import bitsandbytes.functional as F
    codes, largest, _ = F.int8_vectorwise_quant(w.half())
    tensors = {"weight": codes, "SCB": largest.float(), "weight_format": torch.tensor(0, dtype=torch.uint8)}
    config = dict(quant_method="bitsandbytes", load_in_8bit=True)
    return tensors, config, F.int8_vectorwise_dequant(codes, largest.float()).float()


def fbgemm(w):
    scale = w.abs().amax(1, keepdim=True) / 448
    codes = (w / scale).to(torch.float8_e4m3fn)
    return ({"weight": codes, "weight_scale": scale, "input_scale_ub": torch.tensor([1200.0])},
            dict(quant_method="fbgemm_fp8", activation_scale_ub=1200.0), codes.float() * scale)


LAYOUTS = {
    "gptq-4": lambda w: gptq(w, 4, GROUP, True),
    "gptq-4-all": lambda w: gptq(w, 4, -1, True),
    "gptq-4-zeros": lambda w: gptq(w, 4, GROUP, False),
    "gptq-4-order": lambda w: gptq(w, 4, GROUP, False, "gptq_v2", True),
    "gptq-2": lambda w: gptq(w, 2, GROUP, False),
    "gptq-3": lambda w: gptq(w, 3, GROUP, False),
    "gptq-3-v2": lambda w: gptq(w, 3, GROUP, True, "gptq_v2"),
    "gptq-8": lambda w: gptq(w, 8, -1, True),
    "gptq-8-zeros": lambda w: gptq(w, 8, GROUP, False),
    "awq": lambda w: awq(w, GROUP),
    "awq-all": lambda w: awq(w, -1),
    "packed-4": lambda w: packed(w, 4, GROUP, True),
    "packed-4-zeros": lambda w: packed(w, 4, GROUP, False),
    "packed-4-order": lambda w: packed_in_order(w, 4, GROUP),
    "packed-3": lambda w: packed(w, 3, GROUP, False, torch.float16),
    "packed-8": lambda w: packed(w, 8, -1, True),
    "int8": lambda w: int8(w, True, True),
    "int8-zero": lambda w: int8(w, False, False),
    "fp8-rows": lambda w: fp8(w, "channel"),
    "fp8-all": lambda w: fp8(w, "tensor"),
    "fp8-blocks": lambda w: fp8(w, "block"),
    "nvfp4": lambda w: fp4(w, "nvfp4-pack-quantized"),
    "mxfp4": lambda w: fp4(w, "mxfp4-pack-quantized"),
    "bnb-nf4": lambda w: bnb4(w, "nf4", True),
    "bnb-fp4": lambda w: bnb4(w, "fp4", False),
    "bnb-int8": bnb8,
    "fbgemm-fp8": fbgemm,
}


# ---- files ----

def write_vector(out, name):
    torch.manual_seed(3)
    tensors, config, expected = LAYOUTS[name](torch.randn(32, 64) * 0.3)
    made = {"model.layers.0.mlp.up_proj." + k: v.contiguous() for k, v in tensors.items()}
    made["expected"] = expected.contiguous()
    safetensors.torch.save_file(made, os.path.join(out, name + ".safetensors"))
    print("%-16s %s" % (name, json.dumps(config)))


def write_seed(out, name):
    """As tests/fuzz/hfjson_fuzz.c divides it: config.json, three files that are not there, header, values."""
    torch.manual_seed(3)
    tensors, config, _ = LAYOUTS[name](torch.randn(16, 64) * 0.3 if name != "gptq-3" else torch.randn(32, 32))
    config = dict(architectures=["LlamaForCausalLM"], hidden_size=8, intermediate_size=16, num_hidden_layers=1,
                  num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32, vocab_size=8,
                  rms_norm_eps=1e-5, num_local_experts=1, num_experts_per_tok=1, quantization_config=config)
    expert = "model.layers.0.block_sparse_moe.experts.0.w1."
    shard = safetensors.torch.save({expert + k: v.contiguous() for k, v in tensors.items()})
    header = 8 + int.from_bytes(shard[:8], "little")
    with open(os.path.join(out, name), "wb") as f:
        f.write(b"\xff".join([json.dumps(config).encode(), b"", b"", b"", shard[8:header], shard[header:]]))


def write_reference(out, name):
    write_folder(out, name, ["hf-" + name])


def write_folder(out, name, folders=None):
    import transformers

    import hf_folders
    torch.manual_seed(8)  # no two tokens nearly equal: products of 8 bits would confuse them
    t, special = hf_folders.pieces()
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        hidden_size=32 if folders else 64, intermediate_size=64 if folders else 96, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=64, vocab_size=t.get_vocab_size(), bos_token_id=1, eos_token_id=2)).eval()
    made = {}
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape) * (0.1 if "norm" in key or "_proj" in key else 0.3))
            if "norm" in key:
                parameter.add_(1)
            if key.endswith("_proj.weight"):
                tensors, config, plain = LAYOUTS[name](parameter.clone())
                parameter.copy_(plain)
                made[key] = {key[:-len("weight")] + k: v.contiguous() for k, v in tensors.items()}
    for folder in folders or [name, name + "-plain"]:
        folder = os.path.join(out, folder)
        model.save_pretrained(folder)
        transformers.PreTrainedTokenizerFast(tokenizer_object=t, **special).save_pretrained(folder)
        hf_folders.write_expected(folder, model, t)
    hf_folders.rewrite(os.path.join(out, folders[0] if folders else name), made, config)


def main():
    what, out = sys.argv[1:3]
    os.makedirs(out, exist_ok=True)
    for name in sys.argv[3:] or LAYOUTS:
        try:
            {"vectors": write_vector, "seeds": write_seed, "folders": write_folder,
             "references": write_reference}[what](out, name)
        except ImportError as why:
            print("NOT made", name, why)


if __name__ == "__main__":
    main()
