"""Systems of others that Python nodes join: RabbitMQ, ejabberd, Mnesia, clusters of Elixir programs."""
