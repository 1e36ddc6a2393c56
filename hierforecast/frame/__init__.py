"""From a data frame to arrays (`Panel`) and back; modules in the order in which data pass them.

A long frame has one row per series and time. `reading.read_frame` calls each step once:

1. `columns`: which column plays which role, as the user says (`freq`, `step`: a stated step).
2. `table`: the frame of any library, one column at a time (`codes`: labels as integers);
   `absent`: columns that are not there, and what is meant instead.
3. `labels`: scenes and series as integers, the rows of the panel.
4. `grid`: the cell of each row. `times` reads the time column (`formats`, `spellings`: what is no
   time yet, `even`: the clock of fractions), `clock` counts it in steps that are stated or found
   (`infer`), `regularity` checks them (`irregular`: its errors), `duplicates` that no two rows
   share a cell.
5. `values`: targets, groups and covariates as numbers (`categories`, `vocabulary`: as in training;
   `crossing`: no way of grouping lies within another).
6. `panel`: all of it as arrays, and answers as frames.
7. `known`: what is known in advance of the steps to forecast; `given`: what is assumed of them;
   `totals`: which series are added up; `calendar`: what the clock says of each step
   (`public_holidays`).

`remedies` is code for the user that mends a frame; errors of every step carry it. `resampling` (and
`newsteps`) bring a frame to another step.
"""

from hierforecast.frame.columns import Columns
from hierforecast.frame.panel import Panel
from hierforecast.frame.reading import read_frame
from hierforecast.frame.vocabulary import Covariate, Vocabulary

__all__ = ["Columns", "Covariate", "Panel", "Vocabulary", "read_frame"]
