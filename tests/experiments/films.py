"""The log of `commands.write_log` turned round: films are the entities."""

SCHEMA = """
name = "films"

[interactions]
files = ["ml-100k.inter"]
format = "atomic"
item = "user_id"
timestamp = "timestamp"
timestamp_unit = "s"
label = "rating >= 4"
outcomes = ["rating"]

[entities.film]
key = "item_id"

[entities.film.side_table]
files = ["ml-100k.item"]
format = "atomic"
key = "item_id"

[[features]]
name = "release_year"
owner = "entity"
kind = "categorical"
role = "meta"
column = "release_year"
"""
