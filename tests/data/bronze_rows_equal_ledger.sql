{#- Guards that what the ledger calls kept stands in the feed's bronze table, and nothing else:
    per batch and object (or shard), for every feed that is declared as a source. A batch cut
    short between its appends shows here until its replay has completed it. Batches past their
    table's retention may be gone. -#}
{%- set expired = ['false'] -%}
{%- for feed in bronze_feeds() if feed.days -%}
    {%- do expired.append(
        "in_ledger.feed = '" ~ feed.name
        ~ "' and in_ledger.planned_at < current_date() - " ~ feed.days
    ) -%}
{%- endfor %}
with

in_ledger as (

    select
        feed,
        batch_id,
        container,
        item,
        sum(kept) as records,
        min(ingested_at) as planned_at
    from {{ source('bronze_loaders', 'ledger') }}
    group by feed, batch_id, container, item
    having sum(kept) > 0

),

in_tables as (

    select
        feed,
        batch_id,
        container,
        item,
        records
    from in_ledger
    where false
    {%- for feed in bronze_feeds() %}
    union all
    select
        '{{ feed.name }}' as feed,
        _batch_id as batch_id,
        {{ feed.key[0] }} as container,
        {{ feed.key[1] }} as item,
        count(*) as records
    from {{ feed.relation }}
    group by _batch_id, {{ feed.key[0] }}, {{ feed.key[1] }}
    {%- endfor %}

),

in_bronze as (

    select
        feed,
        batch_id,
        container,
        item,
        sum(records) as records
    from in_tables
    group by feed, batch_id, container, item

),

bronze_rows_equal_ledger as (

    select
        coalesce(in_ledger.feed, in_bronze.feed) as feed,
        coalesce(in_ledger.batch_id, in_bronze.batch_id) as batch_id,
        coalesce(in_ledger.container, in_bronze.container) as container,
        coalesce(in_ledger.item, in_bronze.item) as item,
        in_ledger.records as in_ledger,
        in_bronze.records as in_bronze
    from in_ledger
    full outer join in_bronze
        on
            in_ledger.feed = in_bronze.feed
            and in_ledger.batch_id = in_bronze.batch_id
            and in_ledger.container = in_bronze.container
            and in_ledger.item = in_bronze.item
    where
        in_ledger.records is distinct from in_bronze.records
        and not (in_bronze.records is null and ({{ expired | join(' or ') }}))

)

select * from bronze_rows_equal_ledger
