"""What the peers bench_update.py and bench_step.py share: TRL's trainer as both run it, and how they answer."""

import os
import resource

os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_VERBOSITY="error",
    TOKENIZERS_PARALLELISM="false",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    TRL_EXPERIMENTAL_SILENCE="1",
)

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402


def answers():
    """Where answers go: what is standard output now. What the trainer prints goes to standard error from here on."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return stream


def peak() -> float:
    """The process's largest memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def trainer(path: str, dtype: str, threads: int, folder: str, rows: int, data, reward, callbacks=(), **settings) -> GRPOTrainer:
    """A GRPOTrainer of groups of eight, `rows` sequences at a time, with the KL term and the optimizer that ours has."""
    torch.set_num_threads(threads)
    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
        args=GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=rows,
            num_generations=8,
            beta=0.04,
            loss_type="dapo",
            # Without it the KL term is the paper's, as ours.
            use_bias_correction_kl=False,
            learning_rate=1e-6,
            lr_scheduler_type="constant",
            optim="adamw_torch",
            max_grad_norm=1.0,
            bf16=dtype == "bf16",
            use_cpu=True,
            # Slower with it, and the memory is there.
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            **settings,
        ),
        train_dataset=data,
        reward_funcs=[reward],
        processing_class=AutoTokenizer.from_pretrained(path),
        callbacks=list(callbacks),
    )
