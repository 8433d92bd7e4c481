# Run once, before the picture is taken that every program starts from: what programs use most is there.
require "set"
