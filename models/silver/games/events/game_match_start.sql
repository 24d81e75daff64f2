{#- One row per match_start event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('match_start', [
        {'name': 'match_id', 'type': 'string', 'required_from': 1},
        {'name': 'map_id', 'type': 'string'},
        {'name': 'mode', 'type': 'string', 'required_from': 1},
    ])
}}
