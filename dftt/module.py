"""The LightningModule around a frozen target and a draft that learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from dftt.adaptation.lessons import Lessons
from dftt.adaptation.losses import BlockLoss, block_loss, make_block_batch
from dftt.adaptation.self_study import write_study
from dftt.adaptation.steps import make_corpus_optimizer, make_optimizer
from dftt.adaptation.token_corpus import CorpusBatch
from dftt.adaptation.ttt import ttt_adapt
from dftt.adaptation.watch import Watch
from dftt.data import CorpusDataModule
from dftt.decoding.generate import Options, generate
from dftt.models import lora
from dftt.models.checkpoint import save_draft
from dftt.models.draft import DFlashDraft
from dftt.models.lora import Adaptation, Adapter
from dftt.models.pair import BUNDLED, Pair, check_fit, check_own_vocabulary, make_draft, read_draft
from dftt.models.target import Target, encode, resolve_dtype
from dftt.suites.tasks import ContextItem, context_of
from dftt.types import DecodingSpec, Generation, Prefill, Prompt, TrainingSpec, TTTSpec
from dftt.types.learning import check_bounds_study

Batch = CorpusBatch | ContextItem


class DraftTTTModule(L.LightningModule):
    """A frozen target with a draft; only the draft, or a LoRA adapter on it, learns and is stored in checkpoints.

    Args:
        target: Hub id, local folder or bundled:smollm2-135m.
        draft: Hub id or local folder of a DFlash draft; the bundled one for the bundled target; `new` makes one to
            train.
        target_dtype: Precision of the target's weights.
        trainable: lora (an adapter on the draft; its shape is ttt.rank, ttt.lora_alpha, ttt.modules) or full (the
            draft).
        new_layers: Layers of a new draft.
        new_block_size: Block size of a new draft, anchor included.
        new_taps: Hidden states that a new draft reads, evenly spread.
        new_tap_ids: The hidden states themselves instead, 0 the embedding output, i the output of layer i.
        new_mask_token_id: Mask token of a new draft: a reserved token, never padding or end-of-sequence.
        ttt: Test-time training: used by fit on one context, by test and by predict.
        training: Optimisation of fit over a corpus.
        allow_long: Keep contexts that exceed the target's window and report them as unscored, instead of refusing them.
    """

    def __init__(
        self,
        target: str = BUNDLED,
        draft: str | None = None,
        target_dtype: str = "float32",
        trainable: str = "lora",
        new_layers: int = 3,
        new_block_size: int = 8,
        new_taps: int = 5,
        new_tap_ids: list[int] | None = None,
        new_mask_token_id: int = -1,
        ttt: TTTSpec = TTTSpec(),
        training: TrainingSpec = TrainingSpec(),
        allow_long: bool = False,
    ) -> None:
        super().__init__()
        # Only what identifies the weights: LightningCLI lets a checkpoint's hyper-parameters override flags silently.
        self.save_hyperparameters(ignore=["ttt", "training", "allow_long", "target_dtype"])
        if trainable not in ("lora", "full"):
            raise ValueError(f"model.trainable: unknown {trainable!r}; choose from lora, full")
        if draft == "new" and trainable != "full":
            raise ValueError("model.draft new needs model.trainable full: an adapter on random weights teaches nothing")
        resolve_dtype(target_dtype)
        self.target_name, self.draft_name, self.target_dtype = target, draft, target_dtype
        self.trainable, self.ttt, self.recipe, self.allow_long = trainable, ttt, training, allow_long
        self.new = (new_layers, new_block_size, new_tap_ids or new_taps, new_mask_token_id)
        self.draft: DFlashDraft | None = None
        self.target: Target | None = None
        self._lessons: dict[str, Lessons] = {}
        self._watch: Watch | None = None
        self._fitted: dict[str, Any] | None = None  # what a checkpoint of a fit on a context says of it
        self._last_loss = torch.zeros(())
        self.adapter: Adapter | None = None  # of a checkpoint or of fit, while it is not on the draft

    # -- building ------------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Refuse settings that fit would not follow, before weights are loaded."""
        if stage != "fit" or self.on_corpus:
            return
        if self.ttt.store:
            raise ValueError(
                f"fit leaves its adapter in the folder of the run: leave model.ttt.store out, got {self.ttt.store!r}"
            )
        check_bounds_study(self.ttt)

    def configure_model(self) -> None:
        """Load target and draft once, and put the adapter on the draft where it is trained or validated, and nowhere
        else; Lightning calls this again for every stage.
        """
        if self.target is None:
            self._load()
        learns = self._trainer is not None and self.trainer.state.fn in ("fit", "validate")
        if learns and self.trainable == "lora":
            self._put_on()
        else:
            self._take_off()

    def _load(self) -> None:
        new, full = self.draft_name == "new", self.trainable == "full"
        # The small files first: most mistakes show there, before the target's weights are read.
        draft = None if new else read_draft(self.draft_name, target=self.target_name)
        self.target = Target.load(self.target_name, dtype=self.target_dtype)
        draft = make_draft(self.target, *self.new) if draft is None else draft
        check_fit(self.target, draft.config)
        check_own_vocabulary(self.target, draft)
        self.target_model = self.target.model  # registered, so that Lightning moves it to the device
        self.draft = draft.to(torch.float32 if full else resolve_dtype(self.target_dtype)).requires_grad_(full)

    @property
    def pair(self) -> Pair:
        """Target and draft; while fit or validate runs, the draft carries the adapter that is trained."""
        if self.target is None or self.draft is None:
            raise RuntimeError("the pair is loaded by configure_model, which has not run yet")
        return Pair(self.target, self.draft)

    @contextmanager
    def bare_draft(self) -> Iterator[Adapter | None]:
        """The draft without an adapter, as `test` and `predict` have it anyway; what is handed out is the adapter of
        fit or of a checkpoint, None if there is none or it has learnt nothing yet.
        """
        is_on = lora.is_attached(self.pair.draft)
        self._take_off()
        try:
            yield self.adapter
        finally:
            if is_on:
                self._put_on()

    def _put_on(self) -> None:
        draft, spec = self.pair.draft, self.ttt
        if not lora.is_attached(draft):
            lora.attach_(draft, rank=spec.rank, lora_alpha=spec.lora_alpha, modules=spec.modules, seed=spec.seed)
            if self.adapter is not None:
                lora.load_weights_(draft, self.adapter.weights)

    def _take_off(self) -> None:
        if lora.is_attached(self.pair.draft):
            adapter = self._attached()
            self.adapter = None if lora.is_fresh(adapter) else adapter
            lora.detach_(self.pair.draft)

    def _attached(self) -> Adapter:
        spec = self.ttt
        return Adapter(spec.rank, spec.lora_alpha, spec.modules, lora.read_weights(self.pair.draft))

    def adapt(
        self, prefill: Prefill, context_length: int, *, spec: TTTSpec | None = None, initial: Adapter | None = None
    ) -> Adaptation:
        """Test-time training on a prefill's first `context_length` tokens, in `bare_draft`; by default as ttt says."""
        prompt = Prompt(prefill.input_ids, context_length)
        with self.trainer.precision_plugin.forward_context():
            return ttt_adapt(self.pair, prompt, spec or self.ttt, prefill=prefill, initial=initial)

    def generate(self, prompt: Prompt, spec: DecodingSpec, **options: Unpack[Options]) -> Generation:
        """`dftt.generate` in the trainer's precision, within `bare_draft`."""
        with self.trainer.precision_plugin.forward_context(), torch.no_grad():
            return generate(self.pair, prompt, spec, **options)

    # -- learning ------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Block loss of a corpus batch, or of one step of test-time training on a context."""
        out = self._loss(batch, step=self.global_step)
        self._last_loss = out.loss.detach()
        self.log("train/loss", out.loss, prog_bar=True, batch_size=1)
        self.log("train/estimated_tau", out.estimated_tau, prog_bar=True, batch_size=1)
        self.log("train/accuracy_slot_1", out.slot_accuracy[0], batch_size=1)
        return out.loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Block loss, per-slot accuracy and estimated tau on held-out sequences, or held-out positions of a context."""
        out = self._loss(batch, step=batch_idx, validation=True)
        self.log("val/loss", out.loss, prog_bar=True, batch_size=1, sync_dist=True)
        self.log("val/estimated_tau", out.estimated_tau, prog_bar=True, batch_size=1, sync_dist=True)
        for slot, accuracy in enumerate(out.slot_accuracy, start=1):
            self.log(f"val/accuracy_slot_{slot}", accuracy, batch_size=1, sync_dist=True)

    def test_step(self, batch: ContextItem, batch_idx: int) -> None:
        """Nothing of its own: the evaluator callback adapts, decodes and scores (it owns the arms)."""

    def predict_step(self, batch: ContextItem, batch_idx: int) -> None:
        """Nothing of its own: the evaluator callback answers."""

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Lightning cannot move frozen dataclasses itself."""
        if isinstance(batch, ContextItem):
            return batch
        tensors = (batch.input_ids, batch.supervised, batch.anchors)
        return CorpusBatch(*(tensor.to(device, non_blocking=True) for tensor in tensors))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; the schedule of ttt for a context, a warm-up and cosine for a corpus."""
        if self.on_corpus:
            steps = max(1, int(self.trainer.estimated_stepping_batches))
            optimizer, schedule = make_corpus_optimizer(self._learning_parameters(), self.recipe, steps)
        else:
            optimizer, schedule = make_optimizer(self._learning_parameters(), self.ttt)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002
    ) -> None:
        """Clip as the specs say; a second bound on the trainer would silently win or lose, so it is refused."""
        if gradient_clip_val is not None:
            raise ValueError("set ttt.max_grad_norm or training.max_grad_norm instead of trainer.gradient_clip_val")
        bound = self.recipe.max_grad_norm if self.on_corpus else self.ttt.max_grad_norm
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, bound)
        if self._watch is not None and not self._watch.allows(self._last_loss.item(), norm.item()):
            optimizer.zero_grad()  # AdamW leaves alone what has no gradient

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """One step; on a context it is watched as `ttt_adapt` is, so that no checkpoint holds a bad update."""
        super().optimizer_step(*args, **kwargs)
        if self._watch is not None:
            self._watch.check_update()
            self.trainer.should_stop = self.trainer.should_stop or bool(self._watch.stopped)

    def on_train_start(self) -> None:
        """Watch the steps on a context, from where a checkpoint's run stood."""
        if self.on_corpus:
            return
        self._watch = Watch(self._learning_parameters(), self.ttt.patience)
        if self._fitted is not None:
            self._check_held_out()
            self._watch.load_state_dict(self._fitted["watch"])
        self.trainer.should_stop = bool(self._watch.stopped)

    def on_validation_start(self) -> None:
        """Refuse to validate where a checkpoint was trained."""
        self._check_held_out()

    @property
    def on_corpus(self) -> bool:
        """Whether the data module at hand is a corpus."""
        return isinstance(getattr(self.trainer, "datamodule", None), CorpusDataModule)

    def on_fit_end(self) -> None:
        """Leave the result in a format that others read, a z-lab draft or a PEFT folder, beside the checkpoints."""
        log_dir = self.trainer.log_dir  # the processes agree on it, so all of them must ask
        if self.trainer.is_global_zero and log_dir and self.trainable == "full":
            save_draft(self.pair.draft, Path(log_dir) / "draft")
        elif self.trainer.is_global_zero and log_dir:
            self._attached().save(Path(log_dir) / "adapter")

    def _learning_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def _loss(self, batch: Batch, *, step: int, validation: bool = False) -> BlockLoss:
        target, draft = self.pair.target, self.pair.draft
        if isinstance(batch, ContextItem):
            blocks = self._lessons_on(batch).batch(step, validation=validation)
            return block_loss(draft, target, blocks, loss=self.ttt.loss)
        hidden, features = target.read(batch.input_ids, tap_ids=draft.config.tap_ids)
        blocks = make_block_batch(
            input_ids=batch.input_ids,
            supervised=batch.supervised,
            anchors=batch.anchors,
            features=features,
            hidden=hidden,
            block_size=draft.config.block_size,
        )
        return block_loss(draft, target, blocks, loss=self.recipe.loss)

    def _lessons_on(self, item: ContextItem) -> Lessons:
        if item.context_id not in self._lessons:
            prompt = context_of([encode(self.pair.target.tokenizer, task.messages) for task in item.tasks])
            prefill, studies = self.pair.prefill(prompt), self.ttt.learns("self_study")
            study = write_study(self.pair, prefill, len(prefill), self.ttt) if studies else None
            self._lessons[item.context_id] = Lessons(self.pair.draft, prefill, len(prefill), self.ttt, study)
        return self._lessons[item.context_id]

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The trainable tensors and nothing else: target and draft are named by their ids, not stored."""
        keep = lora.is_adapter_key if self.trainable == "lora" else (lambda name: name.startswith("draft."))
        return {name: tensor for name, tensor in super().state_dict(*args, **kwargs).items() if keep(name)}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load exactly the trainable tensors; an empty, foreign or renamed checkpoint is refused by name.

        Where the draft carries no adapter, it is put on for that, and taken off again.
        """
        if self.trainable == "lora" and not lora.is_attached(self.pair.draft):
            self._put_on()
            try:
                return self.load_state_dict(state_dict, strict, assign)
            finally:
                self._take_off()
        expected = self.state_dict()
        if set(state_dict) != set(expected):
            problem = lora.describe_key_mismatch(set(expected), set(state_dict))
            raise ValueError(f"checkpoint does not belong to this model: {problem}")
        for name, tensor in state_dict.items():
            if tensor.shape != expected[name].shape:
                raise ValueError(
                    f"checkpoint does not belong to this model: {name} is {tuple(tensor.shape)}, "
                    f"expected {tuple(expected[name].shape)}; give the ttt.rank and ttt.modules it was trained with"
                )
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what identifies the adapter, and of a fit on a context what was held out and how it went so far."""
        if self.trainable == "lora":
            checkpoint["adapter"] = self._identity()
        if self._watch is not None:
            checkpoint["context"] = {"held_out": self.ttt.held_out, "watch": self._watch.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint whose adapter differs from what ttt asks for."""
        stored, asked = checkpoint.get("adapter"), self._identity()
        if self.trainable == "lora" and stored is not None and stored != asked:
            others = [name for name in asked if asked[name] != stored[name]]
            wrong = ", ".join(f"model.ttt.{name} is {asked[name]}, stored {stored[name]}" for name in others)
            raise ValueError(f"checkpoint holds another adapter: {wrong}")
        self._fitted = checkpoint.get("context")

    def _check_held_out(self) -> None:
        if self._fitted is not None and self._fitted["held_out"] != self.ttt.held_out:
            raise ValueError(
                f"model.ttt.held_out is {self.ttt.held_out}, but the checkpoint was fitted with "
                f"{self._fitted['held_out']}: give that, or validation asks where the adapter was trained"
            )

    def _identity(self) -> dict[str, Any]:
        spec = self.ttt
        return {"rank": spec.rank, "lora_alpha": float(spec.lora_alpha), "modules": sorted(spec.modules)}
