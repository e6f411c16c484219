"""``quicdist completion``."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and the names of nodes.

    \b
    bash:  eval "$(quicdist completion bash)"              in ~/.bashrc
    zsh:   eval "$(quicdist completion zsh)"               in ~/.zshrc
    fish:  quicdist completion fish > ~/.config/fish/completions/quicdist.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = ctx.find_root().command
    # Without source(), which runs bash to learn its version.
    made = kind(root, {}, "quicdist", "_QUICDIST_COMPLETE")
    click.echo(made.source_template % made.source_vars())
