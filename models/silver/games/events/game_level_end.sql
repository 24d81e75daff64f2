{#- One row per level_end event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('level_end', [
        {'name': 'level_id', 'type': 'string', 'required_from': 1},
        {'name': 'result', 'type': 'string', 'required_from': 1,
         'values': ['completed', 'failed', 'quit']},
        {'name': 'score', 'type': 'integer'},
        {'name': 'stars', 'type': 'integer'},
        {'name': 'duration_s', 'type': 'number'},
        {'name': 'config_version', 'type': 'string'},
    ])
}}
