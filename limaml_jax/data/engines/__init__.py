"""The engines that run what is written once, in Ibis: DuckDB and Spark."""
