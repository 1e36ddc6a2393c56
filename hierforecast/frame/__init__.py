"""The only door for data frames: frame -> arrays (`Panel`) -> frame.

`columns` says which column plays which role; `table` and `roles` read and check them; `step` and
`clock` turn times into steps and back; `known` takes what is known in advance; `panel` puts all of
it together.
"""

from hierforecast.frame.columns import Columns, Covariate, Vocabulary
from hierforecast.frame.panel import Panel, read_frame

__all__ = ["Columns", "Covariate", "Panel", "Vocabulary", "read_frame"]
