{#- One row per server_heartbeat event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('server_heartbeat', [
        {'name': 'ccu', 'type': 'integer', 'required_from': 1},
        {'name': 'tick_ms', 'type': 'number'},
        {'name': 'queue', 'type': 'integer'},
    ], has_player=false)
}}
