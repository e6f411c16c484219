"""No option of the real quic_dist is unknown here: they are read out of its modules."""

from __future__ import annotations

import pytest

from quicdist.config.options import DIST, DIST_FLAGS, KERNEL, QUIC
from quicdist.term import parse_term
from tests.support.beam import Beam
from tests.support.quic_dist_options import DOCUMENTED, DOCUMENTED_ONLY

pytestmark = pytest.mark.quic_dist

#: Every literal name that is looked up, from the modules' abstract code: in ``dist``, in flags, in
#: the environment of an application, and the fields of the record of the configuration.
_LOOKED_UP = """
begin
Remote = fun(M, F) -> fun
  ({remote, _, {atom, _, M1}, {atom, _, F1}}) -> {M1, F1} =:= {M, F}; (_) -> false
end end,
Value = Remote(proplists, get_value), Argument = Remote(init, get_argument),
Env = Remote(application, get_env),
Name = fun(Field) -> element(3, Field) end,
Find = fun
  Find({call, _, {atom, _, F}, [{atom, _, A} | Rest]}) when F =:= get_opt; F =:= get_dist_opt ->
    [{dist, A} | Find(Rest)];
  Find({call, _, {atom, _, get_init_arg}, [{atom, _, A} | Rest]}) ->
    [{flag, A} | Find(Rest)];
  Find({call, _, Function, [{atom, _, A} | Rest] = Args}) ->
    case {Value(Function), Argument(Function), Env(Function), Rest} of
      {true, _, _, [{var, _, 'DistOpts'} | _]} -> [{dist, A} | Find(Rest)];
      {_, true, _, []} -> [{init, A}];
      {_, _, true, [{atom, _, Parameter} | _]} -> [{A, Parameter} | Find(Rest)];
      _ -> Find(Args)
    end;
  Find({attribute, _, record, {quic_dist_config, Fields}}) ->
    [{dist, Name(Name(case F of {typed_record_field, G, _} -> G; G -> G end))} || F <- Fields];
  Find(T) when is_tuple(T) -> Find(tuple_to_list(T));
  Find([H | T]) -> Find(H) ++ Find(T);
  Find(_) -> []
end,
lists:usort(lists:append([begin
  {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(M), [abstract_code]),
  Find(Forms)
end || M <- [quic_dist, quic_dist_controller, quic_epmd, quic_discovery, quic_discovery_dns,
             quic_discovery_static]]))
end
"""


@pytest.fixture
def looked_up() -> dict[str, set[str]]:
    """By where it is looked up."""
    with Beam() as beam:
        found: dict[str, set[str]] = {}
        for where, name in parse_term(beam.eval_now(_LOOKED_UP)):
            found.setdefault(str(where), set()).add(str(name))
    return found


def test_every_option_that_quic_dist_reads_is_known(looked_up: dict[str, set[str]]) -> None:
    assert len(looked_up["dist"]) > 15
    assert looked_up["dist"] - set(DIST) == set()
    assert looked_up["flag"] - set(DIST_FLAGS) == set()
    assert looked_up["init"] == {"quic_dist", "quic_dist_port"}
    assert looked_up["quic"] - {"dist"} - set(QUIC) == set()
    assert looked_up.get("kernel", set()) - set(KERNEL) == set()


def test_options_that_quic_dist_documents_and_never_reads(looked_up: dict[str, set[str]]) -> None:
    assert not DOCUMENTED_ONLY & looked_up["dist"]
    unread = set(DOCUMENTED) - looked_up["dist"] - DOCUMENTED_ONLY
    # What a version later than this one brought.
    assert {DOCUMENTED[name] for name in unread} <= {"1.3.3", "1.4.0"}
