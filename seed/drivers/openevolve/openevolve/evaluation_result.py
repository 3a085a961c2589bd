"""What an evaluator may return in the place of a dict."""

from dataclasses import dataclass, field


@dataclass
class EvaluationResult:
    """Figures by name, and texts beside them."""

    metrics: dict
    artifacts: dict = field(default_factory=dict)

    @classmethod
    def from_dict(cls, metrics):
        """A result without texts."""
        return cls(metrics)

    def to_dict(self):
        """The figures."""
        return self.metrics

    def has_artifacts(self):
        """Whether there are texts."""
        return bool(self.artifacts)
