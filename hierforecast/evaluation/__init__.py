"""How good forecasts are, and what they depend on; each is a verb of `Forecaster`.

`backtesting`: from many cutoffs of a frame, with refits. `measuring`: their metrics, as a table.
`surprise`: which series and steps went otherwise than expected. `influence`: how forecasts change
when somebody is not there.
"""
