"""Small networks with every habit that trips probes, and slow float64 references."""
