{#- One row per level_start event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('level_start', [
        {'name': 'level_id', 'type': 'string', 'required_from': 1},
        {'name': 'attempt', 'type': 'integer', 'required_from': 1},
        {'name': 'config_version', 'type': 'string'},
    ])
}}
