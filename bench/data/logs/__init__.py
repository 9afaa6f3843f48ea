"""Logs of any kind as funnel tables: files → raw relations → visits, exposures, labels and splits by stated rules."""
