"""The QUIC engine: its contract, and the parts of QUIC that need neither aioquic nor asyncio."""
