"""Has transformers and PEFT load what rltrain wrote, and compares logits, dtypes, ties, unknown keys, and of whole runs tokens.

    RLTRAIN_SAVED=/tmp/saved cargo test --release --locked --workspace --test integration -- --ignored for_other_programs
    python scripts/check_saved.py /tmp/saved

Needs torch, transformers and peft.
"""
import json, pathlib, sys, torch, transformers
from peft import PeftModel
from safetensors.torch import load_file

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
worst = 0.0
folders = sorted(pathlib.Path(sys.argv[1]).iterdir())
for folder in folders:
    checkpoint = next(folder.glob("step-*"))
    adapted = (checkpoint / "adapter").is_dir()
    model = folder / "base" if adapted else checkpoint / "model"
    config = transformers.AutoConfig.from_pretrained(model)
    is_run = (folder / "text.json").exists()
    assert is_run or config.of_another_program == {"nested": [1, 2.5, None]}, f"{folder.name}: an unknown key is gone"
    kind = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    network, info = kind.from_pretrained(
        model, dtype="auto" if adapted else None, attn_implementation="eager", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), f"{folder.name}: {info}"
    stored = {tensor.dtype for file in model.glob("*.safetensors") for tensor in load_file(file).values()}
    wanted = torch.bfloat16 if folder.name.endswith("bf16") else torch.float32
    assert stored == {wanted}, f"{folder.name}: {stored}"
    if config.tie_word_embeddings:
        assert network.get_output_embeddings().weight is network.get_input_embeddings().weight, f"{folder.name}: not tied"
    if adapted:
        network = PeftModel.from_pretrained(network, checkpoint / "adapter")
    expected = load_file(folder / "expected.safetensors")
    if is_run:
        told = json.loads((folder / "text.json").read_text())
        tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        assert tokenizer(told["text"])["input_ids"] == expected["ids"].long().tolist(), f"{folder.name}: other tokens"
        turn = tokenizer.apply_chat_template([{"role": "user", "content": told["text"]}], tokenize=False)
        assert told["text"] in turn and turn.startswith("<|im_start|>"), f"{folder.name}: another template"
        stop = transformers.GenerationConfig.from_pretrained(model).eos_token_id
        assert stop == told["stop"], f"{folder.name}: stops at {stop}"
    ids = expected["ids"].long()[None]
    inputs = dict(input_ids=ids)
    if config.is_encoder_decoder:
        # The first token is the prompt, the others were written behind the start token.
        start = torch.full_like(ids[:, :1], config.decoder_start_token_id)
        inputs = dict(input_ids=ids[:, :1], decoder_input_ids=torch.cat([start, ids[:, 1:]], 1))
    with torch.no_grad():
        logits = [network.float().eval()(**inputs).logits[0]]
        if adapted:
            logits.append(network.merge_and_unload()(**inputs).logits[0])
    for found in logits:
        apart = (found - expected["logits"]).abs().max().item()
        worst = max(worst, apart)
        assert apart < 1e-4, f"{folder.name}: logits differ by {apart}"
print(f"{len(folders)} folders: transformers and PEFT load them, logits within {worst:.1e}")
