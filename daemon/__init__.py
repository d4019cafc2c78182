"""HOW a cluster gets to what its spec asks for, and stays there.

    watches ──┐
    schedule ─┼─> dirty key ─> observe() ─> View ─> decide(View) ─> Step ─> act(Step) ─> Outcome
    webhook ──┘      I/O          frozen       pure      one step      I/O

Layers, from the top: __main__ > watch, schedule, reconcile > observe, act, provision > status, decide >
topology. Waiting is a Step; state lives in Kubernetes and in Valkey, never in this process.
"""
