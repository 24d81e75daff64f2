{#- One row per player_level_up event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('player_level_up', [
        {'name': 'level', 'type': 'integer', 'required_from': 1},
        {'name': 'xp', 'type': 'integer'},
    ])
}}
