{#- One row per achievement_unlocked event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('achievement_unlocked', [
        {'name': 'achievement_id', 'type': 'string', 'required_from': 1},
    ])
}}
