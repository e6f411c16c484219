"""Events from Phoenix.PubSub."""
