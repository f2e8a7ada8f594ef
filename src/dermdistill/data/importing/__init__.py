"""From a data set in its publisher's layout to a manifest."""
