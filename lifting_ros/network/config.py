"""What makes a network of the family; stored in its weights file."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class LiftConfig:
    """What every member has; stored in the weights file.

    Args:
        lift: whether poses are lifted and fused between stages.
        lift_dims: dimensions of the prior used inside the network.
        lift_headings: headings tried inside the network.
        lift_modes: modes of the prior the tables hold.
        margin: side of a crop over the longer side of its box.
    """

    lift: bool = True
    lift_dims: int = 8
    lift_headings: int = 16
    lift_modes: int = 12
    margin: float = 1.25

    def to_dict(self):
        """Plain dict, for the weights file."""
        return asdict(self)


@dataclass(frozen=True)
class Config(LiftConfig):
    """What makes a network, beside :class:`LiftConfig`.

    Args:
        stages: belief-map stages, 1 or more.
        channels: width of a later stage's block.
        layers: depthwise 7x7 layers in a later stage's block (at stride 8).
        size: side of the crops it is meant for, px.
        fuse: 'between' the stages only; 'sum' or 'product': read out too, of every stage.
    """

    stages: int = 6
    channels: int = 64
    layers: int = 1
    size: int = 256
    fuse: str = 'between'

    def __post_init__(self):
        if self.fuse not in ('between', 'sum', 'product'):
            raise ValueError(f"fuse is {self.fuse!r}, not 'between', 'sum' or 'product'")

    @property
    def read_fused(self):
        """Whether keypoints are read from the fused maps."""
        return self.lift and self.fuse != 'between'
