"""Which job runs next, where, and why: plain functions over plain data. Clocks and randomness are passed in.

`ordering` says who comes first, `fairness` whose turn it is within a class, `placement` where a job fits,
`reservation` what must not be delayed, `preemption` who has to give way, `explain` why. `engine` puts them together.
"""
