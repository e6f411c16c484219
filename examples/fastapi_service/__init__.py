"""An HTTP service whose data is in a GenServer."""
