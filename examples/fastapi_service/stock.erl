%% A stock of items, as a gen_server.
-module(stock).
-behaviour(gen_server).
-export([start/1, init/1, handle_call/3, handle_cast/2]).

start(Items) -> gen_server:start({local, stock}, ?MODULE, Items, []).

init(Items) -> {ok, Items}.

handle_call({count, Item}, _, Items) ->
    {reply, maps:get(Item, Items, 0), Items};
handle_call({order, Item, Amount}, _, Items) ->
    case maps:get(Item, Items, 0) - Amount of
        Left when Left >= 0 -> {reply, {ok, Left}, Items#{Item => Left}};
        _ -> {reply, {error, sold_out}, Items}
    end.

handle_cast(_, Items) -> {noreply, Items}.
