{#- One row per experiment_assigned event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('experiment_assigned', [
        {'name': 'experiment_id', 'type': 'string', 'required_from': 1},
        {'name': 'variant', 'type': 'string', 'required_from': 1},
    ])
}}
