{#- One row per bronze record, fit or not: a record that may not go on says why. -#}
{{ config(materialized = 'view') }}

with

stocks_daily_prices_delivered as (

    select data, _bucket, _key, _version, _ordinal, _modified_at, _batch_id
    from {{ source('bronze_stocks', 'stocksDailyPrices') }}

),

records as (

    select
        *,
        from_json(
            data,
            'ticker string, price_date string, open string, high string, low string,
            close string, volume string, adj_close string, currency string, updated string,
            _unreadable string',
            map('columnNameOfCorruptRecord', '_unreadable')
        ) as record
    from stocks_daily_prices_delivered

),

fields as (

    select
        data,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id,
        record is not null and record._unreadable is null as is_object,
        {{ supplied('record.ticker') }} as ticker,
        {{ supplied('record.price_date') }} as price_date_text,
        {{ supplied('record.open') }} as open_text,
        {{ supplied('record.high') }} as high_text,
        {{ supplied('record.low') }} as low_text,
        {{ supplied('record.close') }} as close_text,
        {{ supplied('record.volume') }} as volume_text,
        {{ supplied('record.adj_close') }} as adj_close_text,
        {{ supplied('record.currency') }} as currency,
        try_cast({{ supplied('record.updated') }} as timestamp) as updated
    from records

),

typed as (

    select
        *,
        {{ full_date('price_date_text') }} as price_date,
        try_cast(open_text as decimal(18, 6)) as open,
        try_cast(high_text as decimal(18, 6)) as high,
        try_cast(low_text as decimal(18, 6)) as low,
        try_cast(close_text as decimal(18, 6)) as close,
        -- through a decimal, because some vendors write shares as 10793600.0
        cast(try_cast(volume_text as decimal(18, 0)) as bigint) as volume,
        try_cast(adj_close_text as decimal(18, 6)) as adj_close
    from fields

),

stocks_daily_prices_parsed as (

    select
        ticker,
        price_date,
        open,
        high,
        low,
        close,
        volume,
        adj_close,
        currency,
        updated,
        case
            when not is_object then 'not_an_object'
            when ticker is null then 'missing_ticker'
            when price_date_text is null then 'missing_price_date'
            when price_date is null then 'not_a_date'
            -- east of Greenwich a session can close on the UTC day after the object was written
            when price_date > date_add(to_date(_modified_at), 1) then 'future_date'
            when
                {{ any_not_finite([
                    'open_text', 'high_text', 'low_text', 'close_text', 'adj_close_text',
                    'volume_text',
                ]) }}
                then 'not_finite'
            when
                {{ any_unreadable({
                    'open_text': 'open', 'high_text': 'high', 'low_text': 'low',
                    'close_text': 'close', 'adj_close_text': 'adj_close',
                    'volume_text': 'volume',
                }) }}
                then 'not_a_number'
            when close is null then 'missing_close'
            -- adjusted closes may go below zero: dividends are taken off them
            when least(open, high, low, close) <= 0 then 'non_positive_price'
            when high < low then 'high_below_low'
            when volume < 0 then 'negative_volume'
        end as reject_reason,
        data,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id
    from typed

)

select * from stocks_daily_prices_parsed
