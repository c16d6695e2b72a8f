"""Online anomaly scoring: how strange a measurement is, judged by what came before it alone."""
