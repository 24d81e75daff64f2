{#- One row per client_error event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('client_error', [
        {'name': 'severity', 'type': 'string', 'required_from': 1,
         'values': ['warning', 'error', 'crash']},
        {'name': 'code', 'type': 'string', 'required_from': 1},
        {'name': 'stack_hash', 'type': 'string'},
        {'name': 'fps', 'type': 'number'},
        {'name': 'memory_mb', 'type': 'integer'},
    ])
}}
