"""The limit of `bench chat`: an aiohttp web socket that commits one row for each frame and sends the frame back.

Run as `python -m bot.bench.echo PORT DATABASE_URL`; nothing but this benchmark uses it.
"""

import asyncio
import sys

import asyncpg
import uvloop
from aiohttp import WSMsgType, web

CONNECTIONS = 10
TABLE = "CREATE TABLE IF NOT EXISTS bench_echo (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)"
STORE = "INSERT INTO bench_echo (body) VALUES ($1) RETURNING id"


async def serve(port: int, database_url: str) -> None:
    """Serve until killed."""
    async with asyncpg.create_pool(database_url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        await pool.execute(TABLE)

        async def echo(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse(compress=False)
            await socket.prepare(request)
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    await pool.fetchval(STORE, frame.data)
                    await socket.send_str(frame.data)
            return socket

        async def healthz(_request: web.Request) -> web.Response:
            return web.Response()

        app = web.Application()
        app.add_routes([web.get("/ws", echo), web.get("/healthz", healthz)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
        _runner.run(serve(int(sys.argv[1]), sys.argv[2]))
