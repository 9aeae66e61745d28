"""What a study is going to compute, and about how long that takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from dftt.study.records import spec_hash
from dftt.tables import align
from dftt.types import DecodingSpec, Record, TTTSpec
from dftt.types.arms import Arm


@dataclass(frozen=True)
class Rates:
    """Seconds that a new token, a step of test-time training and a prefill take, and where these figures come from."""

    token: float
    step: float
    prefill: float
    source: str


# Orders of magnitude: the bundled pair on two CPU cores at 1.5k tokens, Qwen3-8B on one H200 at 8k.
ROUGH = {
    "cpu": Rates(0.05, 1.0, 3.0, "rough figures of the bundled pair on two CPU cores"),
    "gpu": Rates(0.02, 0.1, 1.0, "rough figures of an 8B target on one H200"),
}


@dataclass(frozen=True)
class Plan:
    """What a study computes in one process, nothing being there yet.

    Args:
        records: (task, arm, seed) in all.
        prefills: Target passes over contexts, and over contexts with answers.
        adaptations: Adapters made.
        steps: Steps of test-time training in all.
        generations: Answers decoded; more than records where arms have rounds or tasks have turns. Copies are none.
        passes: Answers that are decoded one after another: those decoded side by side count as one.
        new_tokens: Most tokens that are drawn to make these.
    """

    contexts: int
    tasks: int
    records: int
    prefills: int
    adaptations: int
    steps: int
    generations: int
    passes: int
    new_tokens: int

    def seconds(self, rates: Rates) -> float:
        """Estimated time, scoring and loading left out."""
        # A row more costs little beside a pass of its own, as long as the passes read weights above all.
        token = rates.token * self.passes / max(self.generations, 1)
        return self.new_tokens * token + self.steps * rates.step + self.prefills * rates.prefill


def make_plan(
    turns: Sequence[Sequence[int]],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    ttt: TTTSpec,
    decoding: DecodingSpec,
    rows: int = 1,
) -> Plan:
    """The plan of a study.

    Args:
        turns: For each context, the number of turns of each of its tasks.
        arms: The arms.
        seeds: Decoding seeds.
        ttt: Settings of model.ttt.
        decoding: Settings that the arms share.
        rows: How many answers on a context are decoded side by side, where arms differ in alpha alone.
    """
    contexts, tasks, all_turns = len(turns), sum(map(len, turns)), sum(map(sum, turns))
    records, arms = tasks * len(arms) * len(seeds), [arm for arm in arms if not arm.copies]
    wanted = [(arm, arm.ttt) for arm in arms if arm.ttt != "none" and arm.ttt_spec(ttt).learns_from != "generation"]
    wanted += [(arm, "wrong") for arm in arms if "other" in arm.sources]
    first = {_settings(arm, ttt, of): (arm, of) for arm, of in wanted}
    # Another context's adaptation is that context's own, where an arm asks for the same one of its own.
    made = [(arm, of) for arm, of in first.values() if of != "wrong" or _settings(arm, ttt, "own") not in first]
    # But that of the first context has been dropped by the time that it is the last one's; of two, it is at hand still.
    again = [entry for entry in first.values() if entry not in made] if contexts > 2 else []
    adaptations = contexts * len(made) + len(again)
    steps = sum(arm.ttt_spec(ttt).before_answer().steps for arm, _ in contexts * made + again)
    prefills = contexts * (1 + sum(of == "shuffled" for _, of in made))
    if contexts > 1:
        prefills += any(of == "wrong" for _, of in made + again)  # the first context once more, for the last one
    later = tasks * len(seeds)
    for arm in arms:
        for number in range(1, arm.rounds):
            prefills, adaptations = prefills + later, adaptations + later
            steps += later * arm.ttt_spec(ttt, number=number).steps
        if arm.ttt != "none" and (on_policy := arm.ttt_spec(ttt).steps_of("generation")):
            adaptations, steps = adaptations + later, steps + later * on_policy
    return Plan(
        contexts=contexts,
        tasks=tasks,
        records=records,
        prefills=prefills,
        adaptations=adaptations,
        steps=steps,
        generations=all_turns * len(seeds) * sum(arm.rounds for arm in arms),
        passes=len(seeds) * sum(_passes(each, arms, ttt, rows) for each in turns),
        new_tokens=all_turns * len(seeds) * sum(a.rounds * a.drawn_tokens(decoding.max_new_tokens) for a in arms),
    )


def measured_rates(records: Iterable[Record], otherwise: Rates) -> Rates:
    """Rates of earlier records; those that records do not tell are taken from `otherwise`."""
    answered = [record for record in records if record.token_ids and record.seconds > 0]
    if not answered:
        return otherwise
    adapted = [record.adaptation for record in answered if record.adaptation.get("steps")]
    return Rates(
        token=median(record.seconds / len(record.token_ids) for record in answered),
        step=median(each["seconds"] / each["steps"] for each in adapted) if adapted else otherwise.step,
        prefill=otherwise.prefill,
        source=f"{len(answered)} records in this folder, prefills from {otherwise.source}",
    )


def format_plan(plan: Plan, arms: Sequence[Arm], ttt: TTTSpec, decoding: DecodingSpec, rates: Rates, done: int) -> str:
    """The arms with their settings, what is to be computed and about how long it takes; `done` records are there."""
    hours, rest = divmod(round(plan.seconds(rates)), 3600)
    return (
        f"{align([_cells(arm.within(ttt, decoding)) for arm in arms])}\n"
        f"{len(arms)} arms, {plan.contexts} contexts, {plan.tasks} tasks: {plan.records} records, {done} there "
        f"already\n{plan.prefills} prefills, {plan.adaptations} adaptations ({plan.steps} steps), {plan.generations} "
        f"answers in {plan.passes} passes (at most {plan.new_tokens} tokens)\n"
        f"about {hours} h {rest // 60} min {rest % 60} s in one process, if all were new ({rates.source})"
    )


def _passes(turns: Sequence[int], arms: Sequence[Arm], ttt: TTTSpec, rows: int) -> int:
    """Answers to the tasks of a context that are decoded one after another, under one seed."""
    alone, families = 0, Counter[str]()
    for arm in arms:
        for turn in turns:
            if arm.is_alone(ttt) or turn > 1:
                alone += turn * arm.rounds
            else:
                families[arm.family] += 1
    return alone + sum(ceil(count / rows) for count in families.values())


def _settings(arm: Arm, ttt: TTTSpec, of: str) -> str:
    """Names an adaptation of a context: two arms of equal settings share it."""
    return spec_hash({"of": of, "ttt": arm.ttt_spec(ttt).before_answer(), "taps": arm.taps})


def _cells(arm: Arm) -> dict[str, str]:
    ttt = arm.ttt_overrides
    return {
        "arm": arm.id,
        "T": "matched" if arm.temperature is None else f"{arm.temperature:g}",
        "top p": f"{arm.top_p:g}",
        "ttt": f"{arm.ttt}: {ttt['steps']} steps, lr {ttt['lr']:g}, rank {ttt['rank']}" if ttt else "-",
        "taps": str(arm.taps),
        "rounds": str(arm.rounds),
    }
