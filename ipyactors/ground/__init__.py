"""What every floor may stand on: errors, ids, options, settings, clocks."""
