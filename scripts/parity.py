#!/usr/bin/env python3
"""Compares an imported model folder with transformers' own reading of the same GGUF file.

    .venv/bin/python scripts/parity.py            # prints one line per check, exit status 1 if one fails
    .venv/bin/python scripts/parity.py --golden   # also writes tests/golden/smollm2-tokens.json

Needs torch, transformers, gguf and accelerate, the GGUF file and the folder that `rltrain import` made of it
(`make test` sees to both), and, for the logits, `../shared/parity`. Nothing is downloaded.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import sysconfig
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from transformers.utils import logging  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden/smollm2-tokens.json"

# Files whose ids the Rust test repeats: code with non-ASCII text, tabs, tables of numbers, long white space.
GOLDEN_FILES = """heapq.py json/decoder.py textwrap.py statistics.py argparse.py typing.py inspect.py datetime.py
    decimal.py _pydecimal.py difflib.py ast.py turtle.py html/entities.py encodings/cp1252.py encodings/idna.py
    test/test_unicode_identifiers.py test/test_tokenize.py test/test_textwrap.py test/test_re.py""".split()

# Texts that break tokenizers.
TEXTS = [
    "",
    " ",
    "\t\tif x:\n\t\t\treturn 10\n",
    "x   = 1\ny    =  22\n",
    "    0, 1, 1, 2, 3, 5, 8, 13, 21, 34\n",
    "a1b22c333 ½ ² ٣ Ⅷ 一二三",
    "naïve café — “quotes” … Ω≈ç√∫ 漢字かな交じり 한국어 🙂👩‍👩‍👧",
    "e\u0301 \u00a0\u2003\u200b\ufeff end",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start |> <|endoftext|><jupyter_code>x<issue_start>",
    "can't won't I'll we've they're it's I'd CAN'T",
    "\r\n\r\n  \r\n   trailing   \n\n\n\n",
    "def f(x: int) -> int:\n    return x ** 2 + 3.14e-10 if x else 0xFF\n" + " " * 200 + "#",
    "\x00\x01\x7f\\x00",
]

failed = False


def check(name, passed, detail):
    global failed
    failed |= not passed
    print(f"{'ok  ' if passed else 'FAIL'}  {name}: {detail}", flush=True)


def sha256(ids):
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


def without_digits(tokenizer):
    """The same tokenizer as transformers reads it out of the GGUF: without the splitting of digits."""
    step = json.loads(tokenizer.to_str())
    step["pre_tokenizer"] = step["pre_tokenizer"]["pretokenizers"][1]
    return type(tokenizer).from_str(json.dumps(step))


def white_space_before_number(line):
    """Whether a number follows two white-space characters: there GPT-2's expression alone splits the last one off."""
    places = (place for place, character in enumerate(line) if character.isnumeric())
    return any(place >= 2 and line[place - 2 : place].isspace() for place in places)


def tokenizers(ours, theirs, stdlib):
    plain = without_digits(ours.backend_tokenizer)
    lines = differ = plain_differ = unexplained = 0
    files = sorted(stdlib.glob("*.py")) + sorted(stdlib.glob("json/*.py")) + sorted(stdlib.glob("test/test_[t-z]*.py"))
    for path in files:
        text = path.read_bytes().decode(errors="replace")
        for line in text.splitlines(keepends=True):
            lines += 1
            wanted = theirs.backend_tokenizer.encode(line, add_special_tokens=False).ids
            if plain.encode(line, add_special_tokens=False).ids != wanted:
                plain_differ += 1
            if ours.backend_tokenizer.encode(line, add_special_tokens=False).ids != wanted:
                differ += 1
                unexplained += not white_space_before_number(line)
    detail = f"{plain_differ} of {lines} lines of {len(files)} files differ from transformers' reading of the GGUF"
    check("vocabulary, merges, special tokens", plain_differ == 0, detail + " when digits are not split")
    detail = f"{differ} of {lines} lines differ, {unexplained} of them without white space before a number"
    check("digits split as the GGUF declares", unexplained == 0, detail)
    for text in TEXTS:
        round_trip = ours.decode(ours.encode(text, add_special_tokens=False), skip_special_tokens=False)
        if round_trip != text:
            check("round trip", False, repr(text))
    check("round trip", True, f"{len(TEXTS)} difficult texts decode to themselves")


def likelihood(ours, model, stdlib):
    """Which way of cutting did the model learn? The one that finds real code more likely."""
    plain = without_digits(ours.backend_tokenizer)
    cut, uncut, better, chunks = 0.0, 0.0, 0, 0
    for path in sorted(stdlib.glob("*.py"))[::3]:
        lines = path.read_text(errors="replace").splitlines(keepends=True)
        split = ours.backend_tokenizer.encode
        first = next((i for i, line in enumerate(lines) if split(line).ids != plain.encode(line).ids), None)
        if first is None:
            continue
        chunk = "".join(lines[max(0, first - 12) : first + 1])
        with_split, without = (surprisal(model, t.encode(chunk).ids) for t in (ours.backend_tokenizer, plain))
        cut, uncut, better, chunks = cut + with_split, uncut + without, better + (with_split < without), chunks + 1
    detail = f"{cut:.1f} nats with digits split, {uncut:.1f} without; {better} of {chunks} excerpts more likely with"
    check("the model knows split digits", cut < uncut, detail)


@torch.no_grad()
def surprisal(model, ids):
    logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return -logprobs[:-1].gather(1, torch.tensor(ids[1:])[:, None]).sum().item()


def weights(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    different = [name for name in theirs if name not in ours or not same_bits(ours[name], theirs[name])]
    distinct = {tensor.data_ptr(): tensor.numel() for tensor in ours.values()}
    detail = f"{len(distinct)} tensors, {sum(distinct.values()):,} numbers; different: {different or 'none'}"
    check("weights, bit for bit", not different and ours.keys() == theirs.keys(), detail)


def same_bits(a, b):
    return a.dtype == b.dtype == torch.float32 and torch.equal(a.view(torch.int32), b.view(torch.int32))


@torch.no_grad()
def logits(model, tokenizer, expected):
    for number, prompt in enumerate(expected["prompts"]):
        ids = torch.tensor([prompt["ids"]])
        all_logits = model(ids).logits[0]
        logprobs = all_logits.log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[:, 0]
        apart = (logprobs - torch.tensor(prompt["logprob_of_prompt_tokens"])).abs().max().item()
        last = prompt["top8_last"]
        top = (all_logits[-1][last["ids"]] - torch.tensor(last["logits"])).abs().max().item()
        greedy = model.generate(ids, do_sample=False, max_new_tokens=len(prompt["greedy"]))[0, ids.shape[1] :].tolist()
        encoded = tokenizer(prompt["prompt"]).input_ids == prompt["ids"]
        same = greedy == prompt["greedy"][: len(greedy)]
        detail = f"ids equal: {encoded}; logprobs within {apart:.1e}; top logits within {top:.1e}; greedy equal: {same}"
        check(f"transformers on the folder, prompt {number}", encoded and same and max(apart, top) < 1e-4, detail)
    template = expected["chat_template"]
    check("chat template", tokenizer.chat_template == template, f"{len(template)} characters")
    special = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
    check("special ids", special == expected["special"], str(special))


def stdlib_reference(tokenizer, reference, stdlib):
    plain = without_digits(tokenizer.backend_tokenizer)
    for name, wanted in zip(GOLDEN_FILES, reference):
        text = (stdlib / name).read_text()[:6000]
        ours, undivided = (t.encode(text).ids for t in (tokenizer.backend_tokenizer, plain))
        same, same_undivided = (sha256(ids) == wanted["sha256_of_ids"] for ids in (ours, undivided))
        check(f"reference ids of {name}, digits not split", same_undivided, f"{len(undivided)} ids of {wanted['n']}")
        if not same:
            print(f"note  reference ids of {name}, digits split: {len(ours)} ids, {wanted['n']} in the reference")


def golden(tokenizer, stdlib):
    def entry(name):
        content = (stdlib / name).read_bytes()
        ids = tokenizer(content.decode()).input_ids
        digest, lines = hashlib.sha256(content).hexdigest(), content.count(b"\n")
        return {"file": name, "lines": lines, "text_sha256": digest, "n": len(ids), "ids_sha256": sha256(ids)}

    content = {
        "made_by": "scripts/parity.py --golden: transformers' AutoTokenizer on the imported folder",
        "texts": [{"text": text, "ids": tokenizer(text).input_ids} for text in TEXTS],
        "stdlib": [entry(name) for name in GOLDEN_FILES],
    }
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(content, indent=1) + "\n")
    lines = sum(entry["lines"] for entry in content["stdlib"])
    print(f"wrote {GOLDEN.relative_to(ROOT)}: {len(TEXTS)} texts, {len(GOLDEN_FILES)} files, {lines} lines")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = ROOT / ".deps/models"
    parser.add_argument("--gguf", type=Path, default=models / "SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--folder", type=Path, default=models / "SmolLM2-135M-Instruct")
    parser.add_argument("--parity", type=Path, default=ROOT.parent / "shared/parity/smollm2")
    parser.add_argument("--stdlib", type=Path, default=Path(sysconfig.get_paths()["stdlib"]))
    parser.add_argument("--golden", action="store_true", help="write the ids that the Rust test compares with")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()

    source = {"gguf_file": options.gguf.name}
    ours = AutoTokenizer.from_pretrained(options.folder)
    tokenizers(ours, AutoTokenizer.from_pretrained(options.gguf.parent, **source), options.stdlib)
    if options.golden:
        golden(ours, options.stdlib)
    model = AutoModelForCausalLM.from_pretrained(options.folder, dtype=torch.float32).eval()
    weights(model, AutoModelForCausalLM.from_pretrained(options.gguf.parent, dtype=torch.float32, **source))
    likelihood(ours, model, options.stdlib)
    if options.parity.exists():
        stdlib_reference(ours, json.loads((options.parity / "tokenizer-stdlib.json").read_text()), options.stdlib)
        logits(model, ours, json.loads((options.parity / "expected.json").read_text()))
    else:
        print(f"skip  logits: no {options.parity}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
