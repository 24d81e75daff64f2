{#- One row per client_device event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('client_device', [
        {'name': 'model', 'type': 'string', 'required_from': 1},
        {'name': 'os', 'type': 'string', 'required_from': 1},
        {'name': 'ram_mb', 'type': 'integer'},
        {'name': 'locale', 'type': 'string'},
        {'name': 'timezone', 'type': 'string'},
    ])
}}
